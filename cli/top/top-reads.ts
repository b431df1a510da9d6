import { countWaiting } from '../../brokers/postgres/backlog.ts';
import type { Pool } from '../../common/postgres/postgres.ts';
import { readLiveBudgets } from '../../ledger/live/budgets.ts';
import { BurnRates } from '../../ledger/live/burn-rate.ts';
import {
  booksJson,
  budgetJson,
  clicksJson,
  problemJson,
  reasonsJson,
  topJson,
} from '../../ledger/live/event-json.ts';
import { LiveFlow } from '../../ledger/live/flow.ts';
import { clickToChargeSeconds, readLatestClicks } from '../../ledger/live/latest-clicks.ts';
import { readLiveSums } from '../../ledger/live/sums.ts';
import { readSettledTotals, type SettledTotals } from '../../ledger/live/totals.ts';
import type { Component } from '../../ledger/operations/part-numbers.ts';
import { readProblems } from '../../ledger/operations/read-problems.ts';

/** What `tollway top` shows, as JSON. The fields are those of the events of `/v1/events`. */
export type TopFrame = Awaited<ReturnType<TopReads['next']>>;

export type TopDeps = {
  readonly pool: Pool;
  /** Whether `BROKER` is the Postgres broker, whose waiting clicks are in the database. */
  readonly hasPostgresBroker: boolean;
  /** Components of which at least one process has to run. */
  readonly expected: readonly Component[];
};

/** Reads the numbers of `tollway top` from the database, again and again. */
export class TopReads {
  readonly #deps: TopDeps;
  readonly #rates = new BurnRates();
  readonly #flow = new LiveFlow();
  #before: { readonly totals: SettledTotals; readonly atMs: number } | null = null;

  constructor(deps: TopDeps) {
    this.#deps = deps;
  }

  /** Reads them once. `clicks` is `null` at the first call: it has what was settled since the call before. */
  async next() {
    const { pool, hasPostgresBroker, expected } = this.#deps;
    const totals = await readSettledTotals(pool);
    const atMs = performance.now();
    const clicks = this.#clicksSince(totals, atMs);
    const budgets = await readLiveBudgets(pool, null);
    this.#rates.sample(performance.now(), budgets);
    const latest = await readLatestClicks(pool, null, totals.readAt);
    const waiting = hasPostgresBroker ? await countWaiting(pool) : null;
    const sums = await readLiveSums(pool, null, totals.readAt);
    const { state, books, problems } = await readProblems(pool, expected);
    const flow = this.#flow.next({
      settled: totals.charged + totals.overBudget + totals.invalid + totals.rejected,
      ...{ watermark: totals.accepted, parts: state.parts, waiting },
      clickToChargeSeconds: clickToChargeSeconds(latest, totals.readAt),
    });
    return {
      asOf: totals.asOf.toISOString(),
      clicks,
      flow,
      books: booksJson(books),
      problems: problems.map(problemJson),
      budgets: budgets.map((budget) =>
        budgetJson(budget, this.#rates.microsPerSecond(budget.id), totals.readAt),
      ),
      reasons: reasonsJson(sums),
      top: topJson(sums),
    };
  }

  /** The time between the reads is measured here: the clock of the database can be set. */
  #clicksSince(totals: SettledTotals, atMs: number) {
    const before = this.#before;
    this.#before = { totals, atMs };
    if (before === null) return null;
    return clicksJson(before.totals, totals, new Date(totals.asOf.getTime() - (atMs - before.atMs)));
  }
}
