import { shareOf } from '../../amounts.ts';
import { phaseOf } from '../../charge-state.ts';
import { dailyCapReachedUntil, stopOf } from '../../daily-cap.ts';
import type { Campaign } from '../../entities.ts';
import { formatAmount, formatDay, formatTime } from '../../format.ts';
import { texts } from '../../texts.ts';
import { clock } from '../../ui/clock.ts';
import type { Column } from '../../ui/table.tsx';
import { Amount, Meter, StatusTag } from '../../ui/values.tsx';
import { valuesOf } from './campaign-values.ts';

const words = texts.campaigns;

type CapProps = {
  readonly spent: string | null;
  readonly cap: string | null;
  readonly currency: string;
  readonly label: string;
  readonly mark?: number | undefined;
  /** How a cap is shown that is spent. */
  readonly spentTone: 'empty' | 'full';
};

/** What is spent of a cap: two amounts and a bar. */
function CapCell({ spent, cap, currency, label, mark, spentTone }: CapProps) {
  if (cap === null) return <span class="soft">{words.noCap}</span>;
  const share = shareOf(spent ?? '0', cap);
  return (
    <div class="left">
      <span>
        {formatAmount(spent ?? '0.00', currency)} <span class="soft">/</span>{' '}
        <Amount value={cap} currency={currency} />
      </span>
      <Meter {...{ share, label, mark }} tone={share >= 1 ? spentTone : undefined} />
    </div>
  );
}

/** Why an active campaign charges no clicks now, if the campaign itself tells it: its phase comes first, the daily cap last. */
export function PhaseTag({ campaign }: { readonly campaign: Campaign }) {
  const phase = phaseOf(campaign, clock.value);
  if (phase !== 'running') return <span class="tag">{words.phases[phase]}</span>;
  if (campaign.status !== 'active') return null;
  if (!campaign.hasActiveAd) return <span class="tag warn">{words.noActiveAd}</span>;
  if (campaign.exhausted) return <span class="tag bad">{words.exhausted}</span>;
  if (dailyCapReachedUntil(campaign, clock.value) === null) return null;
  return <span class="tag">{words.dailyCapReached}</span>;
}

/** When a campaign goes on whose daily cap is reached, or why it does not; nothing if the daily cap is not reached. */
function GoesOn({ campaign }: { readonly campaign: Campaign }) {
  const { timeZone } = campaign;
  const until = dailyCapReachedUntil(campaign, clock.value);
  if (until === null) return null;
  const stop = stopOf(campaign, until);
  const text = stop === null ? words.goesOn(formatTime(until, timeZone), timeZone) : words.stops[stop];
  return <span class="sub goes-on">{text}</span>;
}

/** The days of a campaign, in the time zone of its advertiser. */
export function datesOf(campaign: Campaign): string {
  const { firstDay, firstClock, lastDay, lastClock } = valuesOf(campaign);
  const first = firstDay && `${formatDay(firstDay)} ${firstClock}`.trim();
  const last = lastDay && `${formatDay(lastDay)} ${lastClock}`.trim();
  if (first && last) return words.between(first, last);
  if (first) return words.from(first);
  return last ? words.until(last) : words.noDates;
}

const hasDates = ({ startsAt, endsAt }: Campaign): boolean => startsAt !== null || endsAt !== null;

/** The columns of a list of campaigns; `hasAdvertiser`: of several advertisers, whose time zones differ. */
export function campaignColumns(hasAdvertiser: boolean): readonly Column<Campaign>[] {
  const advertiser: Column<Campaign> = {
    label: words.columns.advertiser,
    cell: ({ advertiserId, advertiserName }) => (
      <a class="break" href={`/advertisers/${advertiserId}`}>
        {advertiserName}
      </a>
    ),
  };
  return [
    {
      label: words.columns.name,
      cell: ({ id, name }) => (
        <a class="strong break" href={`/campaigns/${id}`}>
          {name}
        </a>
      ),
    },
    ...(hasAdvertiser ? [advertiser] : []),
    {
      label: words.columns.status,
      cell: (campaign) => (
        <span class="row">
          <StatusTag status={campaign.status} />
          <PhaseTag campaign={campaign} />
        </span>
      ),
    },
    {
      label: words.columns.total,
      isNumber: true,
      cell: ({ cap, spent, currency }) => (
        <CapCell {...{ spent, cap, currency }} label={words.spend.meterTotal} spentTone="empty" />
      ),
    },
    {
      label: words.columns.today,
      isNumber: true,
      cell: (campaign) => (
        <>
          <CapCell
            {...{ spent: campaign.spentToday, cap: campaign.dailyCap, currency: campaign.currency }}
            mark={campaign.pace?.planned}
            label={words.spend.meterToday}
            spentTone="full"
          />
          <GoesOn campaign={campaign} />
        </>
      ),
    },
    {
      label: words.columns.pace,
      cell: ({ pacing, pace }) => (
        <>
          <span class="pacing">{words.pacings[pacing]}</span>
          {pace && <span class="sub">{pace.isAhead ? words.ahead : words.onPlan}</span>}
        </>
      ),
    },
    {
      label: words.columns.dates,
      cell: (campaign) => (
        <>
          <span class="one-line">{datesOf(campaign)}</span>
          {hasAdvertiser && hasDates(campaign) && <span class="sub">{campaign.timeZone}</span>}
        </>
      ),
    },
  ];
}
