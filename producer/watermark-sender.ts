import type { Publisher } from '../brokers/publisher.ts';
import { errorMessage } from '../common/errors.ts';
import { backoffMs, sleep } from '../common/process.ts';
import type { Logger } from '../common/telemetry/logger.ts';
import { ThrottledLog } from '../common/telemetry/throttled-log.ts';
import { watermarkRecord } from '../contract/click-event.ts';

/** Creates the log of watermarks that the broker does not take. */
export function createWatermarkLog(logger: Logger): ThrottledLog {
  return new ThrottledLog(logger, {
    failed:
      'The broker takes no watermark. Clicks do not wait for it; until then, reconciliation does not count the latest clicks of this spool as accepted',
    recovered: 'The broker takes watermarks again',
  });
}

/**
 * Sends the watermarks of one spool beside its clicks: a watermark goes to every partition, and clicks must not wait for a partition that takes
 * none. Retries without limit, with a growing delay, until `signal` is aborted.
 */
export class WatermarkSender {
  private readonly spoolId: string;
  private readonly publisher: Publisher;
  private readonly intervalMs: number;
  private readonly signal: AbortSignal;
  private readonly log: ThrottledLog;
  private sent = 0;
  private sentAt = Number.NEGATIVE_INFINITY;
  /** A watermark that is due when all clicks up to it are published, or `null`. */
  private next: number | null = null;
  private sending: Promise<boolean> | null = null;

  /** `intervalMs`: shortest time between two watermarks. */
  constructor(
    spoolId: string,
    { publisher, log, intervalMs }: { publisher: Publisher; log: ThrottledLog; intervalMs: number },
    signal: AbortSignal,
  ) {
    this.spoolId = spoolId;
    this.publisher = publisher;
    this.intervalMs = intervalMs;
    this.signal = signal;
    this.log = log;
  }

  /** Begins to send a watermark if one is due: `accepted` clicks are in the spool, and those up to `relayed` are published. */
  sendIfDue(accepted: number, relayed: number): void {
    if (this.sending !== null) return;
    if (this.next === null) {
      const due = performance.now() - this.sentAt >= this.intervalMs;
      if (!due || accepted === this.sent) return;
      this.next = accepted;
    }
    if (relayed < this.next) return;
    this.sending = this.send(this.next).finally(() => {
      this.sending = null;
    });
  }

  /** Sends the last watermark, after the one that is being sent. Resolves to false if the signal was aborted before that. */
  async sendLast(accepted: number): Promise<boolean> {
    await this.sending;
    return this.send(accepted);
  }

  private async send(accepted: number): Promise<boolean> {
    const record = watermarkRecord(this.spoolId, accepted);
    for (let attempt = 1; !this.signal.aborted; attempt += 1) {
      try {
        await this.publisher.publishEverywhere(record);
        this.log.recover({ spoolId: this.spoolId, attempt });
        this.sent = accepted;
        this.sentAt = performance.now();
        this.next = null;
        return true;
      } catch (error) {
        this.log.fail({ spoolId: this.spoolId, attempt, problem: errorMessage(error) });
        await sleep(backoffMs(attempt), this.signal);
      }
    }
    return false;
  }
}
