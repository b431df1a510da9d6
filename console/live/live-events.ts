import { formatAmount } from '../../common/money.ts';
import type { LiveBudget, OutcomeTotals } from '../../ledger/live-totals.ts';
import type { PartsHealth } from './health.ts';

/** An event of `/v1/events`: its name and its data. */
export type LiveEvent =
  /** Clicks that were settled between `from` and `asOf`, by outcome. */
  | { readonly event: 'clicks'; readonly data: ReturnType<typeof toClicks> }
  /** The budgets that changed; the first event has all. */
  | { readonly event: 'budgets'; readonly data: readonly ReturnType<typeof toBudget>[] }
  /** Accepted and settled clicks since the beginning of the ledger. */
  | {
      readonly event: 'backlog';
      readonly data: {
        readonly asOf: string;
        readonly accepted: number;
        readonly settled: number;
        readonly unsettled: number;
      };
    }
  /** The health of each part: `ready`, or the problem. */
  | { readonly event: 'health'; readonly data: PartsHealth }
  /** The database does not answer: what was sent before is as of this time. */
  | { readonly event: 'stale'; readonly data: { readonly asOf: string | null } };

/** What was settled between two reads. A redrive moves a click from `rejected` to another outcome, so a count can be negative. */
export function toClicks(before: OutcomeTotals, now: OutcomeTotals) {
  return {
    from: before.asOf.toISOString(),
    asOf: now.asOf.toISOString(),
    charged: now.charged - before.charged,
    overBudget: now.overBudget - before.overBudget,
    invalid: now.invalid - before.invalid,
    rejected: now.rejected - before.rejected,
  };
}

/** A budget with amounts as decimal strings. */
export function toBudget({ id, currency, status, budgetMicros, spentMicros, remainingMicros }: LiveBudget) {
  return {
    ...{ advertiserId: id, currency, status },
    budget: formatAmount(budgetMicros),
    spent: formatAmount(spentMicros),
    remaining: formatAmount(remainingMicros),
  };
}

/** An event in the format of server-sent events. https://html.spec.whatwg.org/multipage/server-sent-events.html */
export function encodeEvent({ event, data }: LiveEvent): string {
  return `event: ${event}\ndata: ${JSON.stringify(data)}\n\n`;
}
