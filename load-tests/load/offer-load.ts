import { sleep } from '../../common/process.ts';
import type { Arrivals } from './arrivals.ts';
import type { RecordedClickIds } from './click-ids.ts';
import { ANSWER_MS_MAX, type ClickResult, type HttpTarget } from './http-target.ts';
import { createMicrosHistogram, type MicrosHistogram, recordMs } from './micros-histogram.ts';
import type { Arrival } from './traffic.ts';

/** Limit of concurrent requests. An arrival above the limit is not sent and counts as shed, which fails the run. */
export const UNDER_WAY_MAX = 10_000;
/** Arrivals sent per iteration of the event loop, so that responses are read in between. */
const ARRIVALS_PER_ITERATION_MAX = 250;
/** Largest delay after the due time, in ms, for an arrival to count as offered in time. */
export const LATE_MS_MAX = 250;
/** Limit of distinct failure reasons that are counted separately. */
const FAILURES_MAX = 20;

/** The counts of one phase. */
export type PhaseCounts = {
  /** Arrivals sent or shed, and how many of them were at most `LATE_MS_MAX` late. */
  begun: number;
  offered: number;
  recorded: number;
  unrecorded: number;
  /** Arrivals that the ad server refused as expected: prefetches and forged links. */
  refused: number;
  failed: number;
  shed: number;
  /** Correct answers received during this phase, to arrivals of any phase. */
  answeredInPhase: number;
  /** Time from the due time to the complete answer, in µs, of correct answers. */
  readonly latencyMicros: MicrosHistogram;
  /** Delay of the load generator after the due time, in µs. It is included in the latency. */
  readonly latenessMicros: MicrosHistogram;
};

export type Load = {
  readonly phases: readonly PhaseCounts[];
  /** Planned end of each phase, in ms from the start. */
  readonly ends: readonly number[];
  /** Latencies since the last sample of the timeline, in µs. */
  readonly recent: MicrosHistogram;
  /** Number of failed requests by reason. */
  readonly failures: Map<string, number>;
  underWay: number;
  /** Index of the current phase. */
  phase: number;
  /** Duration of the arrivals in ms, and the time of the last one on the clock of `performance.now()`; 0 before. */
  elapsedMs: number;
  endedAt: number;
};

/** An empty load. `offerLoad` updates it while it runs. */
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
      refused: 0,
      failed: 0,
      shed: 0,
      answeredInPhase: 0,
      latencyMicros: createMicrosHistogram(),
      latenessMicros: createMicrosHistogram(),
    })),
    recent: createMicrosHistogram(),
    failures: new Map(),
    underWay: 0,
    phase: 0,
    elapsedMs: 0,
    endedAt: 0,
  };
}

/**
 * Sends each arrival to the target when it is due, without waiting for earlier responses. Latency counts from the due time, so pauses of the
 * target or of the generator are included (no coordinated omission). Resolves when all requests are answered, or after a timeout; `stop`
 * ends the arrivals early.
 */
export async function offerLoad(load: Load, arrivals: Arrivals, context: LoadContext): Promise<void> {
  const { stackTraceLimit } = Error;
  // undici creates an Error for each connection that closes after its response. Capturing its stack took as long as the request.
  Error.stackTraceLimit = 0;
  try {
    await offer(load, arrivals, context);
    const deadline = performance.now() + 2 * ANSWER_MS_MAX;
    while (load.underWay > 0 && performance.now() < deadline) await sleep(10);
  } finally {
    Error.stackTraceLimit = stackTraceLimit;
  }
}

type LoadContext = {
  readonly target: HttpTarget;
  readonly nextArrival: () => Arrival;
  readonly recorded: RecordedClickIds;
  readonly stop: AbortSignal;
};

async function offer(load: Load, arrivals: Arrivals, context: LoadContext): Promise<void> {
  const startedAt = performance.now();
  let next = arrivals.next();
  while (next && !context.stop.aborted) {
    const nowMs = performance.now() - startedAt;
    for (let count = 0; next && next.atMs <= nowMs && count < ARRIVALS_PER_ITERATION_MAX; count += 1) {
      load.phase = next.phase;
      sendArrival(load, next.phase, { startedAt, dueAt: startedAt + next.atMs }, context);
      next = arrivals.next();
    }
    // If arrivals are overdue, only read responses before continuing. Otherwise sleep: the timer's 1 ms bounds the lateness.
    if (next && next.atMs <= performance.now() - startedAt)
      await new Promise((resolve) => setImmediate(resolve));
    else if (next) await sleep(1);
  }
  load.elapsedMs = performance.now() - startedAt;
  load.endedAt = performance.now();
}

function sendArrival(
  load: Load,
  phase: number,
  { startedAt, dueAt }: { startedAt: number; dueAt: number },
  context: LoadContext,
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
  context.target.click(context.nextArrival(), (result) => {
    load.underWay -= 1;
    if (result.is !== 'failed') {
      const now = performance.now();
      const latencyMs = now - dueAt;
      const current = load.phases[load.ends.findIndex((end) => now - startedAt < end)];
      if (current) current.answeredInPhase += 1;
      recordMs(counts.latencyMicros, latencyMs);
      recordMs(load.recent, latencyMs);
    }
    countResult(load, counts, result, context.recorded);
  });
}

function countResult(load: Load, counts: PhaseCounts, result: ClickResult, recorded: RecordedClickIds): void {
  switch (result.is) {
    case 'recorded':
      recorded[result.toFallback ? 'toFallback' : 'toAdvertiser'].add(result.clickId);
      counts.recorded += 1;
      return;
    case 'unrecorded':
      counts.unrecorded += 1;
      return;
    case 'refused':
      counts.refused += 1;
      return;
    case 'failed':
      counts.failed += 1;
      countFailure(load.failures, result.reason);
      return;
    default:
      result satisfies never;
  }
}

/** Counts a failure by reason. Above the limit of distinct reasons, further ones count together as `other reasons`. */
export function countFailure(failures: Map<string, number>, reason: string): void {
  const key = failures.has(reason) || failures.size < FAILURES_MAX ? reason : 'other reasons';
  failures.set(key, (failures.get(key) ?? 0) + 1);
}
