import { errorMessage } from '../../common/errors.ts';
import type { Pool } from '../../common/postgres/postgres.ts';
import { backoffMs, sleep } from '../../common/process.ts';
import type { Logger } from '../../common/telemetry/logger.ts';
import type { Metrics } from '../../common/telemetry/metrics.ts';
import type { ThrottledLog } from '../../common/telemetry/throttled-log.ts';
import {
  type DueDelivery,
  giveUpOld,
  makeAllDue,
  pauseGone,
  readDueDeliveries,
  recordDelivered,
  recordFailure,
  type WebhookTarget,
} from '../../ledger/webhooks/dispatch.ts';
import { LEASE_MS, releaseLease, type WebhookLease } from '../../ledger/webhooks/leases.ts';
import { FAILURES_BEFORE_PAUSE, pausesAfter } from './retry-schedule.ts';
import type { Message, SendResult } from './send.ts';
import { WakeUp } from './wake-up.ts';

/** Attempts of one webhook at the same time, each for another advertiser. */
export const ATTEMPTS_PER_WEBHOOK = 4;
/** Time before the end of a lease at which its holder stops, in ms: the clocks of the holder and the database run apart a little. */
const LEASE_MARGIN_MS = 1_000;
/** Time after which a worker makes way for other webhooks, in ms: slow receivers with many events would keep all leases of a process. */
const TURN_MS = 5_000;
/** The status of an answer that says that the target is gone for good. */
const GONE = 410;

/** Sends a message once. Aborting the signal ends the attempt. */
export type Send = (target: WebhookTarget, message: Message, signal: AbortSignal) => Promise<SendResult>;

export type WorkerDeps = {
  readonly pool: Pool;
  readonly logger: Logger;
  readonly metrics: Pick<Metrics, 'webhookDeliveries'>;
  readonly send: Send;
  readonly databaseLog: ThrottledLog;
};

/**
 * Sends the deliveries of one webhook while it holds the lease: those of one advertiser one after the other, those of several advertisers at the
 * same time. It ends when nothing is due, after its turn, when the webhook has to wait as a whole, or when the lease is lost.
 *
 * A delivery is pending until its result is committed, and only the holder of the lease can commit it. If the process dies in between, the event
 * is sent again: at least once, not exactly once.
 */
export class WebhookWorker {
  readonly lease: WebhookLease;
  /** Resolves when the worker has ended and released the lease. Never rejects. */
  readonly done: Promise<void>;
  private readonly deps: WorkerDeps;
  /** Ends all attempts: the lease is lost, or the process ends. */
  private readonly abort = new AbortController();
  private readonly change = new WakeUp();
  /** The attempts in progress by advertiser. */
  private readonly inFlight = new Map<number, Promise<void>>();
  private leaseTimer: NodeJS.Timeout | undefined;
  private failures: number;
  /** Counts failed rounds: attempts that began before a failure was recorded belong to the round of that failure. */
  private round = 0;
  /** Begins no more attempts: its turn is over, the webhook waits as a whole, or the process ends. */
  private isEnding = false;
  private readonly startedAt = performance.now();
  /** The advertiser after which the next read begins, so that each gets its turn. It outlives the lease: a turn can end before all had theirs. */
  private after: number;

  /** `leasedAt`: `performance.now()` before the lease was requested. */
  constructor(lease: WebhookLease, leasedAt: number, deps: WorkerDeps) {
    this.lease = lease;
    this.deps = deps;
    this.failures = lease.failures;
    this.after = lease.servedAdvertiser;
    this.extend(leasedAt);
    this.done = this.run();
  }

  /** The lease was renewed by a request that began at `renewedAt`, on the clock of `performance.now()`. */
  extend(renewedAt: number): void {
    clearTimeout(this.leaseTimer);
    const endsInMs = renewedAt + LEASE_MS - LEASE_MARGIN_MS - performance.now();
    this.leaseTimer = setTimeout(() => this.lose(), Math.max(0, endsInMs));
  }

  /** Ends all attempts and records nothing more, because another process may hold the lease. */
  lose(): void {
    this.abort.abort();
    this.change.wake();
  }

  /** Looks for due deliveries now. */
  wake(): void {
    this.change.wake();
  }

  /** Begins no more attempts. */
  stop(): void {
    this.isEnding = true;
    this.change.wake();
  }

  private async run(): Promise<void> {
    try {
      while (await this.startDue()) await this.change.wait();
    } catch (error) {
      this.deps.databaseLog.fail({ problem: errorMessage(error) });
    }
    await Promise.all(this.inFlight.values());
    clearTimeout(this.leaseTimer);
    // If this fails, the lease ends by itself.
    await releaseLease(this.deps.pool, this.lease, this.after).catch(() => {});
  }

  /** Starts as many attempts as it may. Returns whether any is in progress. */
  private async startDue(): Promise<boolean> {
    if (performance.now() - this.startedAt > TURN_MS) this.isEnding = true;
    const limit = this.isEnding ? 0 : this.slots() - this.inFlight.size;
    if (this.abort.signal.aborted) return false;
    if (limit > 0) {
      const request = { after: this.after, except: [...this.inFlight.keys()], limit };
      const due = await readDueDeliveries(this.deps.pool, this.lease, request);
      if (due === null || this.abort.signal.aborted) return false;
      for (const delivery of due.deliveries) this.start(due.target, delivery);
    }
    return this.inFlight.size > 0;
  }

  /** While the target fails, one attempt at a time. */
  private slots(): number {
    return this.failures === 0 ? ATTEMPTS_PER_WEBHOOK : 1;
  }

  private start(target: WebhookTarget, delivery: DueDelivery): void {
    const { advertiserKey } = delivery;
    this.after = advertiserKey;
    const attempt = this.attempt(target, delivery).finally(() => {
      this.inFlight.delete(advertiserKey);
      this.change.wake();
    });
    this.inFlight.set(advertiserKey, attempt);
  }

  /** Never rejects. */
  private async attempt(target: WebhookTarget, delivery: DueDelivery): Promise<void> {
    const { round } = this;
    const result = await this.deps.send(target, messageOf(delivery), this.abort.signal);
    const record = result.error === null ? this.succeed : this.fail;
    await this.retry(() => record.call(this, delivery, result, round));
  }

  /** Retries work in the database while the lease holds. Without a recorded result, the event is sent again. */
  private async retry(work: () => Promise<void>): Promise<void> {
    for (let failures = 1; !this.abort.signal.aborted; failures += 1) {
      try {
        await work();
        this.deps.databaseLog.recover();
        return;
      } catch (error) {
        this.deps.databaseLog.fail({ problem: errorMessage(error) });
        await sleep(backoffMs(failures), this.abort.signal);
      }
    }
  }

  private async succeed({ eventId }: DueDelivery, result: SendResult, round: number): Promise<void> {
    const { pool, metrics, logger } = this.deps;
    // An attempt that began before the latest failure says nothing about the target now.
    const isLatest = round === this.round;
    if (!(await recordDelivered(pool, this.lease, eventId, result, isLatest))) return this.lose();
    metrics.webhookDeliveries.inc({ result: 'delivered' });
    if (!isLatest) return;
    const { failures } = this;
    this.failures = 0;
    if (failures < FAILURES_BEFORE_PAUSE) return;
    logger.info({ webhookId: this.lease.webhookId }, 'The target of a webhook answers again');
    await this.retry(() => makeAllDue(pool, this.lease));
  }

  private async fail({ eventId, attempts }: DueDelivery, result: SendResult, round: number): Promise<void> {
    const { pool, metrics } = this.deps;
    const isFirst = round === this.round;
    const failures = isFirst ? this.failures + 1 : this.failures;
    const pauses = pausesAfter(attempts + 1, failures, result.retryAfterMs);
    const recorded = await recordFailure(pool, this.lease, eventId, result, { ...pauses, failures });
    if (recorded === null) return this.lose();
    const isExpired = recorded === 'expired';
    if (recorded !== 'ended') metrics.webhookDeliveries.inc({ result: isExpired ? 'failed' : 'retry' });
    this.failures = failures;
    if (isFirst) {
      this.round += 1;
      this.logFailing(failures, result);
    }
    if (pauses.webhookDelayMs > 0) this.isEnding = true;
    if (result.statusCode === GONE) await this.retry(() => this.pause());
    if (isFirst || isExpired) await this.retry(() => this.giveUpOthers(isExpired ? 1 : 0));
  }

  private async pause(): Promise<void> {
    const { webhookId } = this.lease;
    this.isEnding = true;
    if (!(await pauseGone(this.deps.pool, this.lease))) return;
    this.deps.logger.warn(
      { webhookId },
      'A target answered 410 Gone: its webhook is paused and gets no new events. Clicks are not affected. Change its URL, or resume it',
    );
  }

  /** Gives up the deliveries that have waited long enough, if the target has failed for as long. `given`: those that are given up already. */
  private async giveUpOthers(given: number): Promise<void> {
    let events = given;
    for (let count = -1; count !== 0; events += count) {
      count = await giveUpOld(this.deps.pool, this.lease);
      this.deps.metrics.webhookDeliveries.inc({ result: 'failed' }, count);
    }
    if (events === 0) return;
    this.deps.logger.warn(
      { webhookId: this.lease.webhookId, events },
      'Events of a webhook were given up after three days of retries. Clicks are not affected. Replay them when the target works again',
    );
  }

  private logFailing(failures: number, { error, statusCode }: SendResult): void {
    if (failures !== FAILURES_BEFORE_PAUSE) return;
    this.deps.logger.warn(
      { webhookId: this.lease.webhookId, statusCode, problem: error },
      'The target of a webhook fails. Its events wait and are retried for three days. Clicks and other webhooks are not affected',
    );
  }
}

/** The message of an event: the same bytes and the same id in every attempt and every replay. */
function messageOf({ eventId, type, occurredAt, data }: DueDelivery): Message {
  const body = JSON.stringify({ type, timestamp: occurredAt.toISOString(), data });
  return { id: `evt_${eventId}`, body };
}
