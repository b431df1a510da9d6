import { errorMessage } from '../../common/errors.ts';
import { sleep } from '../../common/process.ts';
import type { Logger } from '../../common/telemetry/logger.ts';
import { ThrottledLog } from '../../common/telemetry/throttled-log.ts';
import { problemJson } from '../../ledger/live/event-json.ts';
import { oldProblems } from '../../ledger/operations/current-problems.ts';
import { encodeEvent, type LiveEvent, type LiveHealth, type LiveProblem } from './live-events.ts';
import { LiveReads, type ReadDeps, type Scope } from './live-reads.ts';

/** Time between two reads of the database, in ms. */
const POLL_MS = 1_000;
/** Time between two reads of what changes less, and of the health of the parts, in ms. */
const SLOW_MS = 5_000;
/** The pause after a slow read is this many times as long as the read took, so that it uses at most a twentieth of a core of the database. */
const REST_FACTOR = 19;
/** Longest pause after a slow read, in ms. */
const REST_MS_MAX = 60_000;
/** Without an answer of the database for this long, in ms, the numbers are stale. */
const ANSWER_MS_MAX = 2_000;
/** A read of what is wrong that takes longer than this, in ms, leaves the list of problems old. */
const PROBLEMS_MS_MAX = 15_000;
/** Budgets of one event: an event of all budgets of a large installation would be megabytes. */
const BUDGETS_MAX = 500;

/** Gets events in the format of server-sent events. */
export type Listener = (text: string) => void;

export type FeedDeps = ReadDeps & {
  readonly logger: Logger;
  readonly readHealth: () => Promise<LiveHealth>;
};

/**
 * Reads the database once a second while it has listeners, and passes on what has changed. All listeners of a scope share a feed. While the
 * database does not answer, listeners get `stale` with the time of the last answer.
 */
export class LiveFeed {
  readonly #scope: Scope;
  readonly #deps: FeedDeps;
  readonly #listeners = new Set<Listener>();
  #reads: LiveReads;
  /** The latest event of each kind that tells a state, for listeners that join. */
  #states = new Map<LiveEvent['event'], string>();
  #isRunning = false;
  #healthAtMs = Number.NEGATIVE_INFINITY;
  readonly #sums: SlowRead;
  readonly #state: SlowRead;
  /** The problems that were read last, and when; `null`: none were yet. */
  #problems: { readonly data: readonly LiveProblem[]; readonly asOf: Date | null } | null = null;
  #isProblemsOld = false;

  constructor(scope: Scope, deps: FeedDeps) {
    this.#scope = scope;
    this.#deps = deps;
    this.#reads = new LiveReads(scope, deps);
    const sumsLog = new ThrottledLog(deps.logger, {
      failed:
        'The console cannot read sums for live events; it retries, and pages show older ones. Clicks are not affected',
      recovered: 'The console reads sums for live events again',
    });
    const stateLog = new ThrottledLog(deps.logger, {
      failed:
        'The console cannot read what is wrong for live events; it retries, and pages say that their list is old. Clicks are not affected',
      recovered: 'The console reads what is wrong for live events again',
    });
    this.#sums = slowRead((reads) => reads.readSums(), sumsLog);
    this.#state = slowRead((reads) => reads.readState(), stateLog);
  }

  get listeners(): number {
    return this.#listeners.size;
  }

  /** Adds a listener, which gets what is known at first. Returns how to remove it. */
  listen(listener: Listener): () => void {
    if (this.#reads.asOf !== null)
      for (const event of pages(this.#reads.budgets())) listener(encodeEvent(event));
    for (const text of this.#states.values()) listener(text);
    this.#listeners.add(listener);
    if (!this.#isRunning) void this.#run();
    return () => void this.#listeners.delete(listener);
  }

  #send(events: readonly LiveEvent[]): void {
    for (const event of events.flatMap(pages)) {
      const text = encodeEvent(event);
      if (!NOT_KEPT.has(event.event)) this.#states.set(event.event, text);
      for (const listener of this.#listeners) listener(text);
    }
  }

  async #run(): Promise<void> {
    this.#isRunning = true;
    while (this.#listeners.size > 0) {
      if (this.#scope === null) void this.#readHealth();
      if (await this.#readFast()) for (const slow of [this.#sums, this.#state]) void this.#readSlow(slow);
      const { isRunning, beganAtMs } = this.#state;
      if (isRunning && performance.now() - beganAtMs > PROBLEMS_MS_MAX)
        this.#sendOldProblems(`the database has not answered within ${PROBLEMS_MS_MAX / 1_000} s`);
      await sleep(POLL_MS);
    }
    // A later listener begins with what is true then.
    this.#reads = new LiveReads(this.#scope, this.#deps);
    this.#states = new Map();
    this.#problems = null;
    this.#isProblemsOld = false;
    for (const slow of [this.#sums, this.#state]) slow.dueAtMs = Number.NEGATIVE_INFINITY;
    this.#isRunning = false;
  }

  /** Returns whether the database answered. While it does not, `stale` is sent again and again. Never rejects. */
  async #readFast(): Promise<boolean> {
    const reading = this.#reads.readFast().then(
      (events) => ({ events }),
      // Whatever the reason: the listeners learn that the numbers they have are old.
      () => ({ events: null }),
    );
    let read = await within(reading, ANSWER_MS_MAX);
    for (; read === null; read = await within(reading, POLL_MS)) this.#sendStale();
    if (read.events === null) this.#sendStale();
    else this.#send(read.events);
    return read.events !== null;
  }

  #sendStale(): void {
    this.#send([{ event: 'stale', data: { asOf: this.#reads.asOf?.toISOString() ?? null } }]);
  }

  /** Apart from the fast reads, which it must not delay. Never rejects. */
  async #readSlow(slow: SlowRead): Promise<void> {
    const beganAtMs = performance.now();
    if (slow.isRunning || beganAtMs < slow.dueAtMs) return;
    slow.isRunning = true;
    slow.beganAtMs = beganAtMs;
    const reads = this.#reads;
    try {
      const events = await slow.read(reads);
      // The feed can have begun anew meanwhile.
      if (reads === this.#reads) {
        this.#noteProblems(events);
        this.#send(events);
      }
      slow.log.recover();
    } catch (error) {
      slow.log.fail({ problem: errorMessage(error) });
      if (slow === this.#state) this.#sendOldProblems(errorMessage(error));
    }
    const endedAtMs = performance.now();
    const restMs = Math.min(REST_MS_MAX, REST_FACTOR * (endedAtMs - beganAtMs));
    slow.dueAtMs = Math.max(beganAtMs + SLOW_MS, endedAtMs + restMs);
    slow.isRunning = false;
  }

  #noteProblems(events: readonly LiveEvent[]): void {
    const read = events.find(({ event }) => event === 'problems');
    if (read?.event !== 'problems') return;
    this.#problems = { data: read.data, asOf: this.#reads.asOf };
    this.#isProblemsOld = false;
  }

  /** Puts before the problems that were read last that they are old, until they are read again. Other numbers go on. */
  #sendOldProblems(reason: string): void {
    if (this.#isProblemsOld || this.#scope !== null) return;
    this.#isProblemsOld = true;
    const old = problemJson(oldProblems(reason, this.#problems?.asOf ?? null));
    this.#send([{ event: 'problems', data: [old, ...(this.#problems?.data ?? [])] }]);
  }

  /** Apart from the numbers, because a part that hangs delays the answer by seconds. Never rejects. */
  async #readHealth(): Promise<void> {
    if (performance.now() - this.#healthAtMs < SLOW_MS) return;
    this.#healthAtMs = performance.now();
    this.#send([{ event: 'health', data: await this.#deps.readHealth() }]);
  }
}

/** A read that may take seconds, and when the next one is due (monotonic, ms). */
type SlowRead = {
  readonly read: (reads: LiveReads) => Promise<LiveEvent[]>;
  readonly log: ThrottledLog;
  dueAtMs: number;
  isRunning: boolean;
  /** Of the latest one. */
  beganAtMs: number;
};

function slowRead(read: SlowRead['read'], log: ThrottledLog): SlowRead {
  return { read, log, dueAtMs: Number.NEGATIVE_INFINITY, isRunning: false, beganAtMs: 0 };
}

/** Events that a listener that joins later does not get: those that tell what happened, and budgets, of which an event has only some. */
const NOT_KEPT: ReadonlySet<LiveEvent['event']> = new Set(['clicks', 'budgets', 'alive', 'stale']);

/** Splits the event of many budgets. */
function pages(event: LiveEvent): LiveEvent[] {
  if (event.event !== 'budgets' || event.data.length <= BUDGETS_MAX) return [event];
  return Array.from({ length: Math.ceil(event.data.length / BUDGETS_MAX) }, (_, page) => ({
    event: 'budgets',
    data: event.data.slice(page * BUDGETS_MAX, (page + 1) * BUDGETS_MAX),
  }));
}

/** What a promise resolves to; `null` if it does not within `ms`. */
async function within<T>(promise: Promise<T>, ms: number): Promise<T | null> {
  const stop = new AbortController();
  const late = sleep(ms, stop.signal).then(() => null);
  try {
    return await Promise.race([promise, late]);
  } finally {
    stop.abort();
  }
}
