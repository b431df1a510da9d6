import type { Publisher } from '../../brokers/publisher.ts';
import { errorMessage, TollwayError } from '../../common/errors.ts';
import { backoffMs, sleep } from '../../common/process.ts';
import type { BrokerRecord } from '../../contract/click-event.ts';
import type { ClickIdFile } from './click-id-file.ts';
import type { CompleteClick, Completer } from './complete-clicks.ts';
import { countUnplayable, type LineCounts } from './line-counts.ts';
import type { RecordedClick } from './line-result.ts';
import type { Sink } from './pacing.ts';

/** Clicks per published batch. */
const BATCH_MAX = 4_000;
/** Limit of concurrent batches. At the limit, reading the file pauses. */
const BATCHES_UNDER_WAY_MAX = 4;
/** Longest time in which the broker accepts no click, in ms. */
const REFUSED_MS_MAX = 30_000;

export type BrokerTarget = Sink & {
  readonly published: () => number;
  /** Resolves when the broker has accepted all clicks. Throws `broker_away`. */
  readonly finish: () => Promise<void>;
};

/** A replay target that publishes click events to the broker, without the ad server. The record key is the click id, without a spool id. */
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
    // Clicks are completed in the order of the file, because double clicks are detected by that order. Batches are published concurrently.
    const completed: CompleteClick[] = [];
    for (const click of await complete(clicks)) {
      if (click.is === 'complete') completed.push(click);
      else countUnplayable(lineCounts, click);
    }
    if (completed.length === 0) return;
    const publishing = publish(completed)
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

/** Publishes records and retries those that the broker refuses. Throws `broker_away` after `REFUSED_MS_MAX` without progress, or on `stop`. */
async function publishWithRetries(
  publisher: Publisher,
  records: readonly BrokerRecord[],
  stop: AbortSignal,
): Promise<void> {
  let remaining = records;
  let acceptedAt = performance.now();
  let cause = 'it refuses them';
  for (let attempt = 1; ; attempt += 1) {
    try {
      const refused = await publisher.publish(remaining);
      if (refused.length === 0) return;
      if (refused.length < remaining.length) acceptedAt = performance.now();
      remaining = refused;
    } catch (error) {
      cause = errorMessage(error);
    }
    if (stop.aborted || performance.now() - acceptedAt > REFUSED_MS_MAX) {
      const message = `the broker accepts no clicks: ${cause}. Replay the file again: clicks that it has accepted are not charged twice`;
      throw new TollwayError('broker_away', message);
    }
    await sleep(backoffMs(attempt), stop);
  }
}
