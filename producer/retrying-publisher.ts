import type { Publisher } from '../brokers/publisher.ts';
import { errorMessage } from '../common/errors.ts';
import { backoffMs, sleep } from '../common/process.ts';
import type { Logger } from '../common/telemetry/logger.ts';
import type { Metrics } from '../common/telemetry/metrics.ts';
import type { Problem } from '../common/telemetry/problems.ts';
import { ThrottledLog } from '../common/telemetry/throttled-log.ts';
import type { BrokerRecord } from '../contract/click-event.ts';

/** Time without a successful call after which the broker is reported as a problem, in ms. */
const UNCONFIRMED_MS = 5_000;
const NO_RESPONSE = 'no response';

export type RetryingPublisherDeps = {
  readonly publisher: Publisher;
  readonly metrics: Metrics;
  readonly logger: Logger;
};

/** Publishes the records of one spool and retries without limit, with a growing delay, until `signal` is aborted. */
export class RetryingPublisher {
  private readonly spoolId: string;
  private readonly deps: RetryingPublisherDeps;
  private readonly signal: AbortSignal;
  private readonly log: ThrottledLog;
  /** When the first attempt since the last successful call began (`performance.now()`), or `null`. */
  private waitingSince: number | null = null;
  private lastFailure = NO_RESPONSE;

  constructor(spoolId: string, deps: RetryingPublisherDeps, signal: AbortSignal) {
    this.spoolId = spoolId;
    this.deps = deps;
    this.signal = signal;
    this.log = new ThrottledLog(deps.logger, {
      failed: 'The broker does not accept clicks. They wait in the spool',
      recovered: 'The broker accepts clicks again',
    });
  }

  /** The last failure, if no call has succeeded for more than 5 s; otherwise `null`. */
  get problem(): Problem | null {
    const forMs = this.waitingSince === null ? 0 : performance.now() - this.waitingSince;
    return forMs > UNCONFIRMED_MS ? { what: 'broker', reason: this.lastFailure, forMs } : null;
  }

  /** Publishes all records. Resolves to false if the signal was aborted before that. */
  async publish(records: readonly BrokerRecord[]): Promise<boolean> {
    const { publisher, metrics } = this.deps;
    let left = records;
    for (let attempt = 1; !this.signal.aborted; attempt += 1) {
      try {
        this.waitingSince ??= performance.now();
        const refused = await publisher.publish(left);
        // `partly` and `refused`: the broker refused some or all records for now.
        const result =
          refused.length === 0 ? 'published' : refused.length < left.length ? 'partly' : 'refused';
        left = refused;
        this.waitingSince = null;
        this.lastFailure = NO_RESPONSE;
        metrics.relayBatches.inc({ result });
        metrics.brokerUp.set(1);
        if (result === 'published') {
          this.log.recover({ spoolId: this.spoolId, attempt });
          return true;
        }
        // The broker is at its limit. While it accepts some records, the delay does not grow.
        if (result === 'partly') attempt = 1;
      } catch (error) {
        this.lastFailure = errorMessage(error);
        metrics.relayBatches.inc({ result: 'failed' });
        metrics.brokerUp.set(0);
        this.log.fail({ spoolId: this.spoolId, attempt, problem: errorMessage(error) });
      }
      await sleep(backoffMs(attempt), this.signal);
    }
    return false;
  }
}
