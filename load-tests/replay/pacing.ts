import { sleep } from '../../common/process.ts';
import { createMicrosHistogram, type MicrosHistogram, recordMs } from '../load/micros-histogram.ts';
import { LATE_MS_MAX } from '../load/offer-load.ts';
import type { ReadRequest, RecordedClick } from './line-result.ts';

/** Speed as a multiple of the recording, or as fast as possible. */
export type Speed = number | 'max';

/** Limit of requests with the same time that are spread over the time's precision. Further ones are due at the end of it. */
const SPREAD_MAX = 20_000;
/** Clicks sent per iteration of the event loop, so that responses are read in between. */
const CLICKS_PER_ITERATION_MAX = 250;

/** The pacing of a replay. At full speed every click is in time, and no lateness is recorded. */
export type Pacing = {
  /** Clicks sent, and how many of them were at most `LATE_MS_MAX` late. */
  begun: number;
  inTime: number;
  readonly latenessMicros: MicrosHistogram;
};

/** The destination of replayed clicks. */
export type Sink = {
  /**
   * Accepts a click that was due at `dueAt` (clock of `performance.now`). The promise resolves when the sink has capacity again.
   */
  readonly take: (click: RecordedClick, dueAt: number) => Promise<void> | void;
  /** Called when no click is due for some time: sends buffered clicks. */
  readonly pause: () => Promise<void> | void;
};

export function createPacing(): Pacing {
  return { begun: 0, inTime: 0, latenessMicros: createMicrosHistogram() };
}

/** Passes clicks, which are in the order of their times, to the sink when they are due. Due times do not depend on earlier answers. */
export async function play(
  clicks: AsyncIterable<RecordedClick>,
  pacing: Pacing,
  { speed, firstAt, sink, stop }: { speed: Speed; firstAt: number; sink: Sink; stop: AbortSignal },
): Promise<void> {
  if (speed === 'max') {
    for await (const click of clicks) {
      if (stop.aborted) break;
      pacing.begun += 1;
      pacing.inTime += 1;
      await sink.take(click, performance.now());
    }
    return void (await sink.pause());
  }
  // The clock starts with the first click, so that opening the file does not count as lateness.
  let startedAt = 0;
  let dueAt = 0;
  let sentThisIteration = 0;
  for await (const { click, atMs } of spread(clicks)) {
    startedAt ||= performance.now();
    dueAt = Math.max(dueAt, startedAt + (atMs - firstAt) / speed);
    while (dueAt > performance.now() && !stop.aborted) {
      await sink.pause();
      sentThisIteration = 0;
      // A timer takes at most 2^31 ms.
      await sleep(Math.min(60_000, Math.max(1, dueAt - performance.now())), stop);
    }
    if (stop.aborted) break;
    sentThisIteration += 1;
    if (sentThisIteration % CLICKS_PER_ITERATION_MAX === 0)
      await new Promise((resolve) => setImmediate(resolve));
    const lateMs = Math.max(0, performance.now() - dueAt);
    pacing.begun += 1;
    if (lateMs <= LATE_MS_MAX) pacing.inTime += 1;
    recordMs(pacing.latenessMicros, lateMs);
    await sink.take(click, dueAt);
  }
  await sink.pause();
}

/** Spreads requests with the same time over its precision. Most logs have whole seconds, and each second would begin with a burst. */
async function* spread(
  clicks: AsyncIterable<RecordedClick>,
): AsyncGenerator<{ click: RecordedClick; atMs: number }> {
  let sameTime: ReadRequest[] = [];
  const spreadOut = (requests: readonly ReadRequest[]) =>
    requests.map((click, index) => ({
      click,
      atMs: click.clickedAt + (index * click.precisionMs) / requests.length,
    }));
  for await (const click of clicks) {
    if (click.is !== 'request') {
      yield { click, atMs: click.clickedAt };
      continue;
    }
    if (sameTime.length >= SPREAD_MAX || (sameTime[0] ?? click).clickedAt !== click.clickedAt) {
      yield* spreadOut(sameTime);
      sameTime = [];
    }
    sameTime.push(click);
  }
  yield* spreadOut(sameTime);
}
