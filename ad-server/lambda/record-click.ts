import type { Publisher } from '../../brokers/publisher.ts';
import type { Logger } from '../../common/telemetry/logger.ts';
import { ThrottledLog } from '../../common/telemetry/throttled-log.ts';
import type { RedirectDependencies } from '../redirect/redirect.ts';
import { retryInTime } from './retry-in-time.ts';

/** What the recording of a click reports. */
export type PublishDeps = {
  readonly logger: Logger;
  /** Called with the error of each failed attempt. */
  readonly onError: (error: unknown) => void;
  /** Called when the broker did not confirm a click in time. */
  readonly onUnconfirmed: () => void;
};

/**
 * Makes the `record` of a redirect without a spool: publishes each click at once, and retries for `waitMs`. It calls `recorded` with 0 when the
 * broker has confirmed the click, and with `null` when it has not.
 */
export function createClickRecorder(
  publisher: Publisher,
  waitMs: number,
  { logger, onError, onUnconfirmed }: PublishDeps,
): RedirectDependencies['record'] {
  const log = new ThrottledLog(logger, {
    failed: 'The broker did not confirm a click in time. The click may be lost. Check the broker',
    recovered: 'The broker confirms clicks in time again',
  });
  return (click, recorded, clickId) => {
    // The click id as the key distributes clicks over partitions and shards, and identifies a record whose value is damaged.
    const record = { key: clickId, value: Buffer.from(click) };
    const publish = async () => {
      const refused = await publisher.publish([record]);
      return refused.length === 0 ? null : 'the broker refuses the click for now';
    };
    void retryInTime(publish, waitMs, onError).then((problem) => {
      if (problem !== null) {
        log.fail({ clickId, problem });
        onUnconfirmed();
      } else log.recover();
      recorded(problem === null ? 0 : null);
    });
  };
}
