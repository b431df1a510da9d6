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
 * none. Retries with a growing delay until `signal` is aborted, each time with the latest number.
 */
export class WatermarkSender {
  private readonly spoolId: string;
  private readonly publisher: Publisher;
  private readonly intervalMs: number;
  private readonly signal: AbortSignal;
  private readonly log: ThrottledLog;
  /** The highest number whose clicks are all published. */
  private ready = 0;
  /** A number of accepted clicks that are not all published yet, or `null`. */
  private pending: number | null = null;
  private sent = 0;
  private sentAt = Number.NEGATIVE_INFINITY;
  private sending: Promise<boolean> | null = null;
  /** From then on (`performance.now()`), a failed attempt is the last one. */
  private triesUntil = Number.POSITIVE_INFINITY;

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
    if (relayed >= (this.pending ?? accepted)) {
      this.ready = this.pending ?? accepted;
      this.pending = null;
    } else this.pending ??= accepted;
    const isDue = performance.now() - this.sentAt >= this.intervalMs;
    if (this.sending !== null || !isDue || this.ready <= this.sent) return;
    this.sending = this.send().finally(() => {
      this.sending = null;
    });
  }

  /**
   * Sends the last watermark, after the one that is being sent: all `accepted` clicks are published. Gives up at the first failed attempt after
   * `triesMs`. Resolves to whether the broker has taken it.
   */
  async sendLast(accepted: number, triesMs: number): Promise<boolean> {
    this.ready = accepted;
    this.triesUntil = performance.now() + triesMs;
    await this.sending;
    return this.send();
  }

  private async send(): Promise<boolean> {
    for (let attempt = 1; !this.signal.aborted; attempt += 1) {
      const accepted = this.ready;
      try {
        await this.publisher.publishEverywhere(watermarkRecord(this.spoolId, accepted));
        this.log.recover({ spoolId: this.spoolId, attempt });
        this.sent = accepted;
        this.sentAt = performance.now();
        return true;
      } catch (error) {
        this.log.fail({ spoolId: this.spoolId, attempt, problem: errorMessage(error) });
        const leftMs = this.triesUntil - performance.now();
        if (leftMs <= 0) return false;
        await sleep(Math.min(backoffMs(attempt), leftMs), this.signal);
      }
    }
    return false;
  }
}
