import type { LiveBudget } from '../../ledger/live/budgets.ts';
import type { BurnRates } from '../../ledger/live/burn-rate.ts';
import { budgetJson } from '../../ledger/live/event-json.ts';
import type { LiveBudgetRow } from './live-events.ts';

/** Shortest time between two checks whether only the rates of budgets have changed, in ms. */
const RATE_MS = 10_000;
/** A rate is sent again if it differs by more than this share from the one that was sent. */
const RATE_SHARE = 0.02;

/** A budget as it was sent. */
type Sent = {
  readonly budget: LiveBudget;
  readonly isSample: boolean;
  readonly microsPerSecond: number | null;
  readonly row: LiveBudgetRow;
};

/** The budgets of a feed: finds those that changed. */
export class BudgetRows {
  readonly #rates: BurnRates;
  readonly #sent = new Map<number, Sent>();
  /** The advertisers of the samples that `npm start` adds. */
  sampleIds: ReadonlySet<number> = new Set();
  #ratesAtMs = Number.NEGATIVE_INFINITY;

  constructor(rates: BurnRates) {
    this.#rates = rates;
  }

  /** All budgets as they were sent last. */
  all(): LiveBudgetRow[] {
    return [...this.#sent.values()].map(({ row }) => row);
  }

  /**
   * Takes the budgets that were read at `atMs` (monotonic) and at `asOf`, by the clock of the database, and returns those to send: new ones,
   * changed ones, and every 10 s those whose rate alone has changed.
   */
  update(budgets: readonly LiveBudget[], atMs: number, asOf: Date): LiveBudgetRow[] {
    this.#rates.sample(atMs, budgets);
    const checksRates = atMs - this.#ratesAtMs >= RATE_MS;
    if (checksRates) this.#ratesAtMs = atMs;
    const changed: LiveBudgetRow[] = [];
    for (const budget of budgets) {
      const sent = this.#sent.get(budget.id);
      const microsPerSecond = this.#rates.microsPerSecond(budget.id);
      const isSample = this.sampleIds.has(budget.id);
      const isSame = sent !== undefined && sent.isSample === isSample && !differs(sent.budget, budget);
      if (isSame && !(checksRates && rateDiffers(sent.microsPerSecond, microsPerSecond))) continue;
      const row = { ...budgetJson(budget, microsPerSecond, asOf), isSample };
      this.#sent.set(budget.id, { budget, isSample, microsPerSecond, row });
      changed.push(row);
    }
    return [...changed, ...this.#removeMissing(budgets)];
  }

  /** A budget that is not read any more was archived: it is sent as such once. */
  #removeMissing(budgets: readonly LiveBudget[]): LiveBudgetRow[] {
    if (budgets.length === this.#sent.size) return [];
    const present = new Set(budgets.map(({ id }) => id));
    const missing = [...this.#sent.values()].filter(({ budget }) => !present.has(budget.id));
    for (const { budget } of missing) this.#sent.delete(budget.id);
    return missing.map(({ row }) => ({ ...row, status: 'archived' }));
  }
}

function differs(before: LiveBudget, now: LiveBudget): boolean {
  return (
    before.spentMicros !== now.spentMicros ||
    before.budgetMicros !== now.budgetMicros ||
    before.isExhausted !== now.isExhausted ||
    before.status !== now.status ||
    before.name !== now.name ||
    before.levelMicros !== now.levelMicros ||
    before.lowPercent !== now.lowPercent
  );
}

function rateDiffers(before: number | null, now: number | null): boolean {
  if (before === null || now === null) return before !== now;
  return before !== now && Math.abs(now - before) > RATE_SHARE * Math.max(before, now);
}
