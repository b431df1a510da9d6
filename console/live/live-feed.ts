import type { Pool } from '../../common/postgres/postgres.ts';
import { sleep } from '../../common/process.ts';
import {
  type LiveBudget,
  type OutcomeTotals,
  readAdvertiserTotals,
  readLiveBudgets,
  readSettledTotals,
} from '../../ledger/live-totals.ts';
import type { PartsHealth } from './health.ts';
import { type LiveEvent, toBudget, toClicks } from './live-events.ts';

/** Time between two reads of the database, in ms. */
const POLL_MS = 1_000;
/** Time between two reads of the health of the parts, in ms. */
const HEALTH_MS = 5_000;
/** Clicks that arrive later than this after they were made are not in the events of single advertisers, in ms. */
const LATE_MS = 3_600_000;

export type Listener = (event: LiveEvent) => void;

/** Whose events a feed has: those of some advertisers, or (`null`) of all, with the backlog and the health of the parts. */
export type Scope = readonly number[] | null;

export type FeedDeps = { readonly pool: Pool; readonly readHealth: () => Promise<PartsHealth> };

/** What a feed knows from its last read. A listener that joins gets the budgets from here. */
type Known = { totals: OutcomeTotals | null; budgets: Map<number, LiveBudget> };

/**
 * Reads the database once a second while it has listeners, and passes on what has changed. All listeners of a scope share a feed. While the
 * database does not answer, listeners get `stale` with the time of the last answer.
 */
export class LiveFeed {
  readonly #scope: Scope;
  readonly #deps: FeedDeps;
  readonly #listeners = new Set<Listener>();
  readonly #since = new Date(Date.now() - LATE_MS);
  #known: Known = { totals: null, budgets: new Map() };
  #isRunning = false;
  #healthAt = Number.NEGATIVE_INFINITY;

  constructor(scope: Scope, deps: FeedDeps) {
    this.#scope = scope;
    this.#deps = deps;
  }

  get listeners(): number {
    return this.#listeners.size;
  }

  /** Adds a listener, which gets all budgets at first. Returns how to remove it. */
  listen(listener: Listener): () => void {
    const { budgets, totals } = this.#known;
    if (totals !== null) listener({ event: 'budgets', data: [...budgets.values()].map(toBudget) });
    this.#listeners.add(listener);
    if (!this.#isRunning) void this.#run();
    return () => void this.#listeners.delete(listener);
  }

  #send(event: LiveEvent): void {
    for (const listener of this.#listeners) listener(event);
  }

  async #run(): Promise<void> {
    this.#isRunning = true;
    while (this.#listeners.size > 0) {
      if (this.#scope === null) void this.#readHealth();
      try {
        await this.#read();
      } catch {
        // Whatever the reason: the listeners learn that the numbers they have are old.
        this.#send({ event: 'stale', data: { asOf: this.#known.totals?.asOf.toISOString() ?? null } });
      }
      await sleep(POLL_MS);
    }
    // A later listener begins with what is true then.
    this.#known = { totals: null, budgets: new Map() };
    this.#isRunning = false;
  }

  async #read(): Promise<void> {
    await this.#readClicks();
    const changed = (await readLiveBudgets(this.#deps.pool, this.#scope)).filter((budget) =>
      this.#isNew(budget),
    );
    for (const budget of changed) this.#known.budgets.set(budget.id, budget);
    if (changed.length > 0) this.#send({ event: 'budgets', data: changed.map(toBudget) });
  }

  /** Apart from the numbers, because a part that hangs delays the answer by seconds. Never rejects. */
  async #readHealth(): Promise<void> {
    if (performance.now() - this.#healthAt < HEALTH_MS) return;
    this.#healthAt = performance.now();
    this.#send({ event: 'health', data: await this.#deps.readHealth() });
  }

  async #readClicks(): Promise<void> {
    const { totals: before } = this.#known;
    if (this.#scope === null) {
      const totals = await readSettledTotals(this.#deps.pool);
      this.#known.totals = totals;
      const { accepted, charged, overBudget, invalid, rejected, asOf } = totals;
      const settled = charged + overBudget + invalid + rejected;
      const unsettled = Math.max(0, accepted - settled);
      this.#send({ event: 'backlog', data: { asOf: asOf.toISOString(), accepted, settled, unsettled } });
    } else {
      this.#known.totals = await readAdvertiserTotals(this.#deps.pool, this.#scope, this.#since);
    }
    if (before !== null) this.#send({ event: 'clicks', data: toClicks(before, this.#known.totals) });
  }

  #isNew({ id, ...budget }: LiveBudget): boolean {
    const known = this.#known.budgets.get(id);
    return (
      known === undefined ||
      known.spentMicros !== budget.spentMicros ||
      known.budgetMicros !== budget.budgetMicros ||
      known.status !== budget.status
    );
  }
}
