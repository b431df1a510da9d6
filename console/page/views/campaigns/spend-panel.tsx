import { microsOf, restOf, shareOf } from '../../amounts.ts';
import type { Campaign } from '../../entities.ts';
import { formatAmount, formatClock, formatPercent } from '../../format.ts';
import { texts } from '../../texts.ts';
import { Panel } from '../../ui/page.tsx';
import { Amount, Meter, Stat } from '../../ui/values.tsx';

const words = texts.campaigns.spend;

/** What a campaign has spent, of its caps, and its pace. */
export function SpendPanel({ campaign }: { readonly campaign: Campaign }) {
  const { cap, spent, dailyCap, spentToday, currency, pace, hold, timeZone: zone } = campaign;
  return (
    <Panel title={words.title} note={`${texts.units.asCharged} · ${texts.units.zone(zone)}`} span={7}>
      <div class="caps">
        <CapBar
          {...{ label: words.total, spent: spent ?? '0.00', cap, currency }}
          of={words.totalOf}
          none={words.noCap}
          meter={words.meterTotal}
          spentTone="empty"
        />
        <CapBar
          {...{ label: words.today, spent: spentToday, cap: dailyCap, currency }}
          of={words.todayOf}
          none={words.noDailyCap}
          meter={words.meterToday}
          spentTone="full"
          mark={pace?.planned}
          most={cap === null ? null : restOf(cap, spent ?? '0')}
        />
        {pace && (
          <p class="soft">
            {words.pace}: {words.planned(formatPercent(pace.planned))}
            {pace.aheadUntil !== null && (
              <>
                {' · '}
                <span class="tag warn">{words.aheadUntil(formatClock(pace.aheadUntil, zone))}</span>
                {hold && ` ${texts.charge.pace}`}
              </>
            )}
          </p>
        )}
      </div>
    </Panel>
  );
}

type CapBarProps = {
  readonly label: string;
  readonly spent: string | null;
  readonly cap: string | null;
  readonly currency: string;
  readonly of: (cap: string) => string;
  readonly none: string;
  readonly meter: string;
  readonly mark?: number | undefined;
  /** How a cap is shown that is spent: the cap of a day ends with the day, the total needs somebody to raise it. */
  readonly spentTone: 'empty' | 'full';
  /** What is left of another cap, which may be less. */
  readonly most?: string | null;
};

/** What is spent under a cap. Without a cap, the amount alone. */
function CapBar({ label, spent, cap, currency, of, none, meter, mark, spentTone, most = null }: CapBarProps) {
  const share = cap === null ? 0 : shareOf(spent ?? '0', cap);
  const amountOf = (amount: string) => `${formatAmount(amount, currency)} ${currency}`;
  const leftOf = (whole: string) => {
    const left = restOf(whole, spent ?? '0');
    if (most !== null && microsOf(most) < microsOf(left)) return words.leftOfCap(amountOf(most));
    return `${words.left}: ${amountOf(left)}`;
  };
  return (
    <div>
      <dl>
        <Stat
          label={label}
          value={spent === null ? '–' : <Amount value={spent} currency={currency} />}
          sub={cap === null ? none : `${of(amountOf(cap))} · ${leftOf(cap)}`}
        />
      </dl>
      {cap !== null && <Meter {...{ share, label: meter, mark }} tone={share >= 1 ? spentTone : undefined} />}
    </div>
  );
}
