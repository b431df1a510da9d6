import type { Publisher } from '../../brokers/publisher.ts';
import { errorMessage, TollwayError } from '../../common/errors.ts';
import { backoffMs, sleep } from '../../common/process.ts';
import type { BrokerRecord } from '../../contract/click-event.ts';
import type { ClickIdFile } from './click-id-file.ts';
import type { CompleteClick, Completer } from './complete-clicks.ts';
import { countUnplayable, type LineCounts } from './line-counts.ts';
import type { Sink } from './pacing.ts';
import type { RecordedClick } from './reading.ts';

/** Clicks that are published together, as the relay does it. */
const BATCH_MAX = 4_000;
/** Batches under way at once; beyond it, the file waits. */
const BATCHES_UNDER_WAY_MAX = 4;
/** Longest time without the broker taking anything, in ms. */
const REFUSED_MS_MAX = 30_000;

export type BrokerTarget = Sink & {
  readonly published: () => number;
  /** Resolves when all that was taken is with the broker. Throws `broker_away`. */
  readonly finish: () => Promise<void>;
};

/** The way to the ledger past the ad server: click events, each under its click id and without a spool id. */
export function createBrokerTarget({
  publisher,
  complete,
  ids,
  lineCounts,
  stop,
}: {
  publisher: Publisher;
  complete: Completer;
  ids: ClickIdFile;
  lineCounts: LineCounts;
  stop: AbortSignal;
}): BrokerTarget {
  const underWay = new Set<Promise<void>>();
  let batch: RecordedClick[] = [];
  let published = 0;
  let failure: unknown = null;

  const publish = async (clicks: readonly CompleteClick[]) => {
    await publishWithRetries(
      publisher,
      clicks.map(({ clickId, value }) => ({ key: clickId, value })),
      stop,
    );
    for (const { clickId } of clicks) ids.add(clickId);
    published += clicks.length;
  };
  const flush = async () => {
    if (failure !== null) throw failure;
    if (batch.length === 0) return;
    const clicks = batch;
    batch = [];
    // In the order of the file, whatever the publishing does: double clicks are found by it.
    const whole: CompleteClick[] = [];
    for (const click of await complete(clicks)) {
      if (click.is === 'complete') whole.push(click);
      else countUnplayable(lineCounts, click);
    }
    if (whole.length === 0) return;
    const publishing = publish(whole)
      .catch((error: unknown) => {
        failure ??= error;
      })
      .finally(() => underWay.delete(publishing));
    underWay.add(publishing);
    if (underWay.size >= BATCHES_UNDER_WAY_MAX) await Promise.race(underWay);
  };
  return {
    take: (click) => {
      batch.push(click);
      return batch.length >= BATCH_MAX ? flush() : undefined;
    },
    pause: flush,
    published: () => published,
    finish: async () => {
      await flush();
      await Promise.all(underWay);
      if (failure !== null) throw failure;
    },
  };
}

async function publishWithRetries(
  publisher: Publisher,
  records: readonly BrokerRecord[],
  stop: AbortSignal,
): Promise<void> {
  let left = records;
  let takenAt = performance.now();
  let why = 'it refuses them';
  for (let attempt = 1; ; attempt += 1) {
    try {
      const refused = await publisher.publish(left);
      if (refused.length === 0) return;
      if (refused.length < left.length) takenAt = performance.now();
      left = refused;
    } catch (error) {
      why = errorMessage(error);
    }
    if (stop.aborted || performance.now() - takenAt > REFUSED_MS_MAX) {
      const message = `the broker takes no clicks: ${why}. What it has taken is charged once: replay the file again`;
      throw new TollwayError('broker_away', message);
    }
    await sleep(backoffMs(attempt), stop);
  }
}
