import { shareOf } from '../../amounts.ts';
import { formatDuration, formatTime } from '../../format.ts';
import { texts } from '../../texts.ts';
import { clock } from '../../ui/clock.ts';
import { Amount, Meter } from '../../ui/values.tsx';
import type { BudgetNow } from './budget-now.ts';

const words = texts.advertisers;

type Props = {
  readonly now: BudgetNow;
  readonly name: string;
  readonly currency: string;
};

/** What is left of a budget: an amount and a bar. */
export function BudgetLeft({ now, name, currency }: Props) {
  return (
    <div class="left">
      <Amount value={now.remaining} currency={currency} />
      <Meter share={shareOf(now.remaining, now.budget)} label={words.budget.meter(name)} tone={now.tone} />
    </div>
  );
}

/** When a budget is exhausted. */
export function ExhaustedAt({ now, zone }: { readonly now: BudgetNow; readonly zone: string }) {
  if (now.tone === 'empty') return <span class="tag bad">{words.exhausted}</span>;
  if (now.exhaustedAt === null) return <span class="soft">–</span>;
  const seconds = Math.max(0, (Date.parse(now.exhaustedAt) - clock.value) / 1_000);
  return (
    <time
      dateTime={now.exhaustedAt}
      title={`${formatTime(now.exhaustedAt, zone)}. ${texts.live.budgets.atThisRate}`}
    >
      {texts.units.in(formatDuration(seconds))}
    </time>
  );
}
