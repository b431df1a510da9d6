import { countWaiting } from '../../brokers/postgres/backlog.ts';
import type { Pool } from '../../common/postgres/postgres.ts';
import { readSampleAdvertiserIds } from '../../ledger/accounts/sample-advertisers.ts';
import { readLiveBudgets } from '../../ledger/live/budgets.ts';
import type { BurnRates } from '../../ledger/live/burn-rate.ts';
import { booksJson, latestJson, problemJson, reasonsJson, topJson } from '../../ledger/live/event-json.ts';
import { LiveFlow } from '../../ledger/live/flow.ts';
import {
  clickToChargeSeconds,
  type LatestClick,
  newestFirst,
  readLatestClicks,
} from '../../ledger/live/latest-clicks.ts';
import { readLiveSums } from '../../ledger/live/sums.ts';
import type { OutcomeTotals } from '../../ledger/live/totals.ts';
import type { Component } from '../../ledger/operations/part-numbers.ts';
import { readParts } from '../../ledger/operations/parts.ts';
import { readProblems } from '../../ledger/operations/read-problems.ts';
import type { ReportingState } from '../../ledger/operations/reporting-state.ts';
import { BudgetRows } from './budget-rows.ts';
import { AllClickCounts, OwnClickCounts } from './click-counts.ts';
import type { LiveBudgetRow, LiveEvent } from './live-events.ts';

/** More budgets than this are read less often, so that a feed of a large installation costs as little. */
const MANY_BUDGETS = 2_000;
/** Time between two reads of so many budgets, in ms. */
const MANY_BUDGETS_MS = 5_000;

/** Whose events a feed has: those of some advertisers, or (`null`) of all, with what belongs to no advertiser. */
export type Scope = readonly number[] | null;

export type ReadDeps = {
  readonly pool: Pool;
  readonly rates: BurnRates;
  /** Whether `BROKER` is the Postgres broker, whose waiting clicks are in the database. */
  readonly hasPostgresBroker: boolean;
  /** Components of which at least one process has to run. */
  readonly expected: readonly Component[];
  /** Whether the database takes the reports of this process; `null` if it does not report. */
  readonly readReports: () => ReportingState | null;
};

/** Reads the events of one scope from the database, and keeps what they are compared with. */
export class LiveReads {
  readonly #scope: Scope;
  readonly #deps: ReadDeps;
  readonly #counts: AllClickCounts | OwnClickCounts;
  readonly #budgets: BudgetRows;
  readonly #flow = new LiveFlow();
  /** `null` before the first read: an empty list is an event, too. */
  #latest: LatestClick[] | null = null;
  #readAt = new Date(0);
  #budgetsAtMs = Number.NEGATIVE_INFINITY;
  #asOf: Date | null = null;

  constructor(scope: Scope, deps: ReadDeps) {
    this.#scope = scope;
    this.#deps = deps;
    this.#counts = scope === null ? new AllClickCounts() : new OwnClickCounts(scope);
    this.#budgets = new BudgetRows(deps.rates);
  }

  /** The time that the latest fast read is true for; `null` before the first one. */
  get asOf(): Date | null {
    return this.#asOf;
  }

  /** All budgets as they were sent last. */
  budgets(): LiveEvent {
    return { event: 'budgets', data: this.#budgets.all() };
  }

  /** Reads what changes from second to second: some milliseconds at any size of the ledger. */
  async readFast(): Promise<LiveEvent[]> {
    const { pool } = this.#deps;
    const { totals, accepted, clicks } = await this.#counts.read(pool);
    if (this.#asOf === null) await this.#readSamples();
    const changed = await this.#readBudgets(totals.readAt);
    this.#asOf = totals.asOf;
    this.#readAt = totals.readAt;
    const events: LiveEvent[] = [
      ...(clicks === null ? [] : [{ event: 'clicks' as const, data: clicks }]),
      ...(changed.length === 0 ? [] : [{ event: 'budgets' as const, data: changed }]),
      ...(this.#scope === null ? await this.#readLatest() : []),
      ...(accepted === null ? [] : [await this.#readFlow(totals, accepted)]),
    ];
    if (events.length > 0) return events;
    return [{ event: 'alive', data: { asOf: totals.asOf.toISOString() } }];
  }

  /** Reads the sums of the last hour, which can take seconds in a large installation. Call it after `readFast`. */
  async readSums(): Promise<LiveEvent[]> {
    const sums = await readLiveSums(this.#deps.pool, this.#scope, this.#readAt);
    return [
      { event: 'reasons', data: reasonsJson(sums) },
      { event: 'top', data: topJson(sums) },
    ];
  }

  /** Reads what changes from minute to minute. Call it after `readFast`. */
  async readState(): Promise<LiveEvent[]> {
    await this.#readSamples();
    if (this.#scope !== null) return this.#readLatest();
    const { pool, expected, readReports } = this.#deps;
    const { books, problems } = await readProblems(pool, expected, readReports());
    return [
      { event: 'books', data: booksJson(books) },
      { event: 'problems', data: problems.map(problemJson) },
    ];
  }

  async #readBudgets(asOf: Date): Promise<LiveBudgetRow[]> {
    if (performance.now() < this.#budgetsAtMs) return [];
    const budgets = await readLiveBudgets(this.#deps.pool, this.#scope);
    const atMs = performance.now();
    this.#budgetsAtMs = budgets.length > MANY_BUDGETS ? atMs + MANY_BUDGETS_MS : atMs;
    return this.#budgets.update(budgets, atMs, asOf);
  }

  async #readSamples(): Promise<void> {
    this.#budgets.sampleIds = await readSampleAdvertiserIds(this.#deps.pool);
  }

  async #readLatest(): Promise<LiveEvent[]> {
    const found = await readLatestClicks(this.#deps.pool, this.#scope, this.#readAt);
    // Those of single advertisers are found among the latest of all; the ones that were found before stay in the list.
    const latest = this.#scope === null ? found : newestFirst([...(this.#latest ?? []), ...found]);
    const before = this.#latest;
    const isSame =
      latest.length === before?.length && latest.every(({ clickId }, at) => clickId === before[at]?.clickId);
    this.#latest = latest;
    return isSame ? [] : [{ event: 'latest', data: latest.map(latestJson) }];
  }

  async #readFlow(totals: OutcomeTotals, watermark: number): Promise<LiveEvent> {
    const { pool, hasPostgresBroker } = this.#deps;
    const { parts } = await readParts(pool);
    const waiting = hasPostgresBroker ? await countWaiting(pool) : null;
    const delay = clickToChargeSeconds(this.#latest ?? [], totals.readAt);
    const sources = { settled: settledOf(totals), watermark, parts, waiting };
    const flow = this.#flow.next({ ...sources, clickToChargeSeconds: delay });
    return { event: 'flow', data: { asOf: totals.asOf.toISOString(), ...flow } };
  }
}

function settledOf({ charged, overBudget, invalid, rejected }: OutcomeTotals): number {
  return charged + overBudget + invalid + rejected;
}
