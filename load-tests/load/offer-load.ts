import { sleep } from '../../common/process.ts';
import type { Arrivals } from './arrivals.ts';
import type { RecordedClicks } from './click-ids.ts';
import { ANSWER_MS_MAX, type HttpTarget } from './http-target.ts';
import { createMicros, type Micros, recordMs } from './micros.ts';
import type { Arrival } from './traffic.ts';

/** Requests under way at once. An arrival beyond it is counted as shed, which is a failure. */
export const UNDER_WAY_MAX = 10_000;
/** Arrivals begun in one turn of the event loop: between two turns the answers are read. */
const ARRIVALS_A_TURN_MAX = 250;
/** An arrival begun this much after it was due was not offered as asked, in ms. */
export const LATE_MS_MAX = 250;
/** Kinds of failure that are told apart. */
const FAILURES_MAX = 20;

/** What one phase saw. */
export type PhaseCounts = {
  /** Arrivals begun, and of them those that came at most `LATE_MS_MAX` late. */
  begun: number;
  offered: number;
  recorded: number;
  unrecorded: number;
  /** Not redirected, and rightly so. */
  turnedAway: number;
  failed: number;
  shed: number;
  /** Answers as they should be that came while this phase lasted, of whichever arrival. */
  answeredMeanwhile: number;
  /** From the intended start to the whole answer, in µs, of what was answered as it should be. */
  readonly latencyMicros: Micros;
  /** How late the generator itself was, in µs. It is a part of the latency. */
  readonly latenessMicros: Micros;
};

export type Load = {
  readonly phases: readonly PhaseCounts[];
  /** When each phase ends by the plan, in ms from the start. */
  readonly ends: readonly number[];
  /** Latencies since somebody last looked, in µs. */
  readonly recent: Micros;
  /** How many requests failed, by reason. */
  readonly failures: Map<string, number>;
  underWay: number;
  /** The phase that is under way. */
  phase: number;
  /** Time from the first to the last arrival, in ms, and when that was, on the clock of `performance.now()`. */
  elapsedMs: number;
  endedAt: number;
};

/** An empty load, to be looked at while it is offered. */
export function createLoad(arrivals: Arrivals): Load {
  let endMs = 0;
  const ends = arrivals.phases.map(({ ms }) => {
    endMs += ms;
    return endMs;
  });
  return {
    ends,
    phases: arrivals.phases.map(() => ({
      begun: 0,
      offered: 0,
      recorded: 0,
      unrecorded: 0,
      turnedAway: 0,
      failed: 0,
      shed: 0,
      answeredMeanwhile: 0,
      latencyMicros: createMicros(),
      latenessMicros: createMicros(),
    })),
    recent: createMicros(),
    failures: new Map(),
    underWay: 0,
    phase: 0,
    elapsedMs: 0,
    endedAt: 0,
  };
}

/**
 * Offers the arrivals to the target, each at its time, whatever became of those before it: latency is counted from the
 * time an arrival was due, so no pause of the target or of ours hides behind another (no coordinated omission).
 * Resolves when the last is answered. `stop` ends it early.
 */
export async function offerLoad(load: Load, arrivals: Arrivals, context: Around): Promise<void> {
  const { stackTraceLimit } = Error;
  // undici makes an error of every connection that ends with its answer: a stack trace of each took as long as the request.
  Error.stackTraceLimit = 0;
  try {
    await offer(load, arrivals, context);
    const deadline = performance.now() + 2 * ANSWER_MS_MAX;
    while (load.underWay > 0 && performance.now() < deadline) await sleep(10);
  } finally {
    Error.stackTraceLimit = stackTraceLimit;
  }
}

type Around = {
  readonly target: HttpTarget;
  readonly nextArrival: () => Arrival;
  readonly recorded: RecordedClicks;
  readonly stop: AbortSignal;
};

async function offer(load: Load, arrivals: Arrivals, context: Around): Promise<void> {
  const startedAt = performance.now();
  let next = arrivals.next();
  while (next && !context.stop.aborted) {
    const nowMs = performance.now() - startedAt;
    for (let count = 0; next && next.atMs <= nowMs && count < ARRIVALS_A_TURN_MAX; count += 1) {
      load.phase = next.phase;
      begin(load, next.phase, { startedAt, dueAt: startedAt + next.atMs }, context);
      next = arrivals.next();
    }
    // Behind: only let the answers in. Otherwise: the timer's millisecond is the grain of our lateness.
    if (next && next.atMs <= performance.now() - startedAt)
      await new Promise((resolve) => setImmediate(resolve));
    else if (next) await sleep(1);
  }
  load.elapsedMs = performance.now() - startedAt;
  load.endedAt = performance.now();
}

function begin(
  load: Load,
  phase: number,
  { startedAt, dueAt }: { startedAt: number; dueAt: number },
  context: Around,
): void {
  const counts = load.phases[phase];
  if (!counts) throw new Error(`Expected a phase, got ${phase}`);
  const lateMs = performance.now() - dueAt;
  counts.begun += 1;
  if (lateMs <= LATE_MS_MAX) counts.offered += 1;
  recordMs(counts.latenessMicros, lateMs);
  if (load.underWay >= UNDER_WAY_MAX) {
    counts.shed += 1;
    return;
  }
  load.underWay += 1;
  context.target.click(context.nextArrival(), (answered) => {
    load.underWay -= 1;
    if (answered.is !== 'failed') {
      const now = performance.now();
      const latencyMs = now - dueAt;
      const meanwhile = load.phases[load.ends.findIndex((end) => now - startedAt < end)];
      if (meanwhile) meanwhile.answeredMeanwhile += 1;
      recordMs(counts.latencyMicros, latencyMs);
      recordMs(load.recent, latencyMs);
    }
    switch (answered.is) {
      case 'recorded':
        context.recorded[answered.toFallback ? 'toFallback' : 'toAdvertiser'].add(answered.clickId);
        counts.recorded += 1;
        return;
      case 'unrecorded':
        counts.unrecorded += 1;
        return;
      case 'turned_away':
        counts.turnedAway += 1;
        return;
      case 'failed':
        counts.failed += 1;
        countFailure(load.failures, answered.why);
        return;
      default:
        answered satisfies never;
    }
  });
}

/** Counts a failure by its reason; beyond so many reasons, all others as one. */
export function countFailure(failures: Map<string, number>, why: string): void {
  const key = failures.has(why) || failures.size < FAILURES_MAX ? why : 'other reasons';
  failures.set(key, (failures.get(key) ?? 0) + 1);
}
