import { sleep } from '../../common/process.ts';
import { createMicrosHistogram, type MicrosHistogram, recordMs } from '../load/micros-histogram.ts';
import { LATE_MS_MAX } from '../load/offer-load.ts';
import type { ReadRequest, RecordedClick } from './reading.ts';

/** How many times as fast as it was, or as fast as it goes. */
export type Speed = number | 'max';

/** Requests of one time that are spread over its precision; of more, the others come at its end. */
const SPREAD_MAX = 20_000;
/** Clicks begun in one turn of the event loop: between two turns the answers are read. */
const CLICKS_PER_ITERATION_MAX = 250;

/** How well the rhythm was kept; all nought at full speed, which has none. */
export type Pacing = {
  /** Clicks begun, and of them those that came at most `LATE_MS_MAX` late. */
  begun: number;
  inTime: number;
  readonly latenessMicros: MicrosHistogram;
};

/** Where clicks go. */
export type Sink = {
  /** Takes a click that was due at `dueAt` (of `performance.now`). Who waits for it, waits for room: only full speed does. */
  readonly take: (click: RecordedClick, dueAt: number) => Promise<void> | void;
  /** Nothing is due for a while: what was gathered goes out. */
  readonly pause: () => Promise<void> | void;
};

export function createPacing(): Pacing {
  return { begun: 0, inTime: 0, latenessMicros: createMicrosHistogram() };
}

/**
 * Plays clicks, which come in the order of their times, each when it is due by its time and the speed, whatever became of those before it.
 */
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
  // It begins with the first click: opening the file is no lateness.
  let startedAt = 0;
  let dueAt = 0;
  let thisTurn = 0;
  for await (const { click, atMs } of spread(clicks)) {
    startedAt ||= performance.now();
    dueAt = Math.max(dueAt, startedAt + (atMs - firstAt) / speed);
    while (dueAt > performance.now() && !stop.aborted) {
      await sink.pause();
      thisTurn = 0;
      // The timer's longest time is 2^31 ms.
      await sleep(Math.min(60_000, Math.max(1, dueAt - performance.now())), stop);
    }
    if (stop.aborted) break;
    thisTurn += 1;
    if (thisTurn % CLICKS_PER_ITERATION_MAX === 0) await new Promise((resolve) => setImmediate(resolve));
    const lateMs = Math.max(0, performance.now() - dueAt);
    pacing.begun += 1;
    if (lateMs <= LATE_MS_MAX) pacing.inTime += 1;
    recordMs(pacing.latenessMicros, lateMs);
    await sink.take(click, dueAt);
  }
  await sink.pause();
}

/** Most logs know whole seconds: the requests of one are spread over it, or each second would begin with a burst. */
async function* spread(
  clicks: AsyncIterable<RecordedClick>,
): AsyncGenerator<{ click: RecordedClick; atMs: number }> {
  let together: ReadRequest[] = [];
  const atTimes = (ended: readonly ReadRequest[]) =>
    ended.map((click, index) => ({
      click,
      atMs: click.clickedAt + (index * click.precisionMs) / ended.length,
    }));
  for await (const click of clicks) {
    if (click.is !== 'request') {
      yield { click, atMs: click.clickedAt };
      continue;
    }
    if (together.length >= SPREAD_MAX || (together[0] ?? click).clickedAt !== click.clickedAt) {
      yield* atTimes(together);
      together = [];
    }
    together.push(click);
  }
  yield* atTimes(together);
}
