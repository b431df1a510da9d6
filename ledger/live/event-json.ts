import { formatAmount } from '../../common/money.ts';
import type { CurrentProblem } from '../operations/current-problems.ts';
import type { LatestReconciliation } from '../reconciliation/latest-reconciliation.ts';
import { isLow, type LiveBudget } from './budgets.ts';
import { secondsToExhaustion } from './burn-rate.ts';
import type { LatestClick } from './latest-clicks.ts';
import type { LiveSums } from './sums.ts';
import type { OutcomeTotals } from './totals.ts';

/** The JSON of what happens now, which `/v1/events` and `tollway top` have: amounts are decimal strings, times RFC 3339 in UTC. */

/** The latest time that JavaScript can represent, in Unix ms. https://tc39.es/ecma262/#sec-time-values-and-time-range */
const TIME_MS_MAX = 8.64e15;

/** What was settled between two reads, of which the first was at `from`. */
export function clicksJson(before: OutcomeTotals, now: OutcomeTotals, from: Date) {
  return {
    from: from.toISOString(),
    asOf: now.asOf.toISOString(),
    charged: now.charged - before.charged,
    overBudget: now.overBudget - before.overBudget,
    invalid: now.invalid - before.invalid,
    rejected: now.rejected - before.rejected,
  };
}

/** A budget that is spent at a rate. `asOf` is the time from which on the rest is spent. */
export function budgetJson(budget: LiveBudget, microsPerSecond: number | null, asOf: Date) {
  const { id, name, currency, status } = budget;
  return {
    ...{ advertiserId: id, name, currency, status },
    budget: formatAmount(budget.budgetMicros),
    spent: formatAmount(budget.spentMicros),
    remaining: formatAmount(budget.remainingMicros),
    perHour: microsPerSecond === null ? null : formatAmount(BigInt(Math.round(microsPerSecond * 3_600))),
    exhaustedAt: exhaustedAt(budget.remainingMicros, microsPerSecond, asOf),
    exhausted: budget.isExhausted,
    lowBudget: isLow(budget),
  };
}

function exhaustedAt(remainingMicros: bigint, microsPerSecond: number | null, asOf: Date): string | null {
  const seconds = microsPerSecond ? secondsToExhaustion(remainingMicros, microsPerSecond) : null;
  if (seconds === null) return null;
  const atMs = asOf.getTime() + seconds * 1_000;
  return atMs > TIME_MS_MAX ? null : new Date(atMs).toISOString();
}

/** Clicks that were not charged, by reason. */
export function reasonsJson({ since, reasons }: LiveSums) {
  return { since: since.toISOString(), rows: reasons };
}

/** The ads and publishers with the most clicks. */
export function topJson({ since, ads, publishers }: LiveSums) {
  return {
    since: since.toISOString(),
    ads: ads.map(({ chargedMicros, ...ad }) => ({ ...ad, charged: formatAmount(chargedMicros) })),
    publishers: publishers.map(({ chargedMicros, ...publisher }) => ({
      ...publisher,
      charged: formatAmount(chargedMicros),
    })),
  };
}

/** One of the latest clicks. */
export function latestJson({ clickedAt, settledAt, chargedMicros, outcome, ...click }: LatestClick) {
  return {
    ...click,
    outcome,
    clickedAt: clickedAt.toISOString(),
    settledAt: settledAt.toISOString(),
    price: outcome === 'charged' ? formatAmount(chargedMicros) : null,
  };
}

/** The result of the reconciliation of the consoles; `null` before the first one. */
export function booksJson(found: LatestReconciliation | null) {
  if (found === null) return null;
  const { balanced, checkedAt, missing, inFlight, problemCount, problems } = found;
  return { balanced, checkedAt: checkedAt.toISOString(), missing, inFlight, problemCount, problems };
}

/** Something that is wrong now. */
export function problemJson({ since, ...problem }: CurrentProblem) {
  return { ...problem, since: since?.toISOString() ?? null };
}
