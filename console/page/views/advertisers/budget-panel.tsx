import { shareOf } from '../../amounts.ts';
import type { Advertiser } from '../../entities.ts';
import { formatPercent, formatTime } from '../../format.ts';
import { texts } from '../../texts.ts';
import { Panel } from '../../ui/page.tsx';
import { Amount, Meter, Stat } from '../../ui/values.tsx';
import { ExhaustedAt } from './budget-left.tsx';
import type { BudgetNow } from './budget-now.ts';

const words = texts.advertisers.budget;

type Props = { readonly advertiser: Advertiser; readonly now: BudgetNow };

/** The budget of an advertiser as of now. */
export function BudgetPanel({ advertiser, now }: Props) {
  const { name, currency, timeZone, lowBudgetPercents } = advertiser;
  const share = shareOf(now.remaining, now.budget);
  const thresholds = lowBudgetPercents.map((percent) => formatPercent(percent / 100)).join(', ');
  const note = [
    `${words.thresholds}: ${thresholds || words.noThresholds}`,
    `${words.currency}: ${currency}`,
    texts.units.zone(timeZone),
  ];
  return (
    <Panel title={words.title} note={note.join(' · ')}>
      <div class="stack">
        <dl class="stats">
          <Stat
            label={words.left}
            value={<Amount value={now.remaining} currency={currency} />}
            sub={words.leftOf(formatPercent(share))}
          />
          <Stat
            label={words.total}
            value={<Amount value={now.budget} currency={currency} />}
            sub={words.totalSub}
          />
          <Stat
            label={words.spent}
            value={<Amount value={now.spent} currency={currency} />}
            sub={words.spentSub}
          />
          <Stat
            label={words.rate}
            value={now.perHour === null ? '–' : <Amount isEstimate value={now.perHour} currency={currency} />}
            sub={words.rateSub}
          />
          <Stat
            label={words.exhausted}
            value={<ExhaustedAt now={now} zone={timeZone} />}
            sub={exhaustedSub(now, timeZone)}
          />
        </dl>
        <Meter share={share} label={words.meter(name)} tone={now.tone} />
      </div>
    </Panel>
  );
}

function exhaustedSub({ tone, exhaustedAt }: BudgetNow, zone: string): string {
  if (tone === 'empty') return words.isEmpty;
  if (exhaustedAt === null) return words.never;
  return `${formatTime(exhaustedAt, zone)}. ${texts.live.budgets.atThisRate}`;
}
