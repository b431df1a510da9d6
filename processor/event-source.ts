import pLimit, { type LimitFunction } from 'p-limit';
import { errorMessage, TollwayError } from '../common/errors.ts';
import { backoffMs, sleep } from '../common/lifecycle.ts';
import type { Logger } from '../common/logger.ts';
import type { Metrics } from '../common/metrics.ts';
import { failureKind, type Pool } from '../common/postgres.ts';
import type { ReadClick, ReadRecord, Unreadable } from '../producer/click-event.ts';
import { chargeClicks, quarantine, type Settlement } from './charge-clicks.ts';
import { isForeign } from './tally.ts';

/** What reads one broker and drives the handler. One implementation a broker. */
export type EventSource = {
  /** Consumes until `stop`. Rejects when it can't go on: the process then ends. */
  readonly run: () => Promise<void>;
  /** Takes nothing new, and resolves when what was taken is settled and acknowledged. */
  readonly stop: () => Promise<void>;
  /** What waits in the broker. */
  readonly lag: () => Promise<{ records: number; oldestAgeSeconds: number }>;
};

/** Hands records to the handler. Resolves when every one is settled; rejects only if the host is stopping. */
export type Deliver = (records: readonly ReadRecord[]) => Promise<void>;

export type HostOptions = {
  readonly batchSize: number;
  /** Handlers at work at once. */
  readonly lanes: number;
  readonly clickAgeMaxDays: number;
};

/** Thrown to the source when the host stops before a batch was settled: it has to come again. */
export const STOPPING = 'stopping';
const COMPLAIN_MS = 30_000;
/** Outcomes that need all of the ledger to work; a duplicate, a mark or a dead letter does not. */
const PASSED = new Set(['charged', 'over_budget', 'invalid']);

/**
 * The long-lived home of the handler. Clicks are dealt to lanes by advertiser, and each lane has one batch
 * with the handler at a time: so two of its transactions never wait for the same advertiser's lock.
 *
 * A transient failure is waited out for as long as it takes: no attempt and no age counts. A batch that fails
 * for good is cut in two until the record that fails is alone; if others pass meanwhile it is poison and is
 * quarantined. While nothing passes, the fault is not the record's: it waits too.
 */
export class HandlerHost {
  private readonly pool: Pool;
  private readonly options: HostOptions;
  private readonly metrics: Metrics;
  private readonly logger: Logger;
  private readonly onInvariant: (error: unknown) => void;
  private readonly lanes: LimitFunction[];
  private readonly stop = new AbortController();
  /** Clicks that got a row of the ledger: the sign that the fault is not everybody's. */
  private clicksPassed = 0;
  private complainedAt = 0;

  constructor(
    pool: Pool,
    options: HostOptions,
    around: { metrics: Metrics; logger: Logger; onInvariant: (error: unknown) => void },
  ) {
    this.pool = pool;
    this.options = options;
    this.metrics = around.metrics;
    this.logger = around.logger;
    this.onInvariant = around.onInvariant;
    this.lanes = Array.from({ length: options.lanes }, () => pLimit(1));
  }

  /** Delivers records; see `Deliver`. */
  readonly deliver: Deliver = async (records) => {
    const dealt: ReadRecord[][] = this.lanes.map(() => []);
    for (const record of records) {
      const lane = record.is === 'click' ? record.click.advertiserId % this.lanes.length : 0;
      dealt[lane]?.push(record);
    }
    const batches = dealt.flatMap((lane, index) =>
      cut(lane, this.options.batchSize).map((batch) => this.lanes[index]?.(() => this.settleSurely(batch))),
    );
    await Promise.all(batches);
  };

  /** Stops waiting for what fails. What is with the handler now may still end well. */
  abort(): void {
    this.stop.abort();
  }

  private async settleSurely(batch: readonly ReadRecord[]): Promise<void> {
    const waiting: (readonly ReadRecord[])[] = [batch];
    const stubborn: { record: ReadRecord; since: number; error: unknown }[] = [];
    for (let next = waiting.pop(); next; next = waiting.pop()) {
      const error = await this.attempt(next);
      if (error === null) continue;
      const [record] = next;
      if (next.length === 1 && record) stubborn.push({ record, since: this.clicksPassed, error });
      else waiting.push(next.slice(next.length >> 1), next.slice(0, next.length >> 1));
    }
    for (const { record, since, error } of stubborn) await this.settleAlone(record, since, error);
  }

  /**
   * Tries a record that failed alone. It is poison if it fails, other clicks pass after that, and it fails again;
   * while no other passes it waits with them.
   */
  private async settleAlone(record: ReadRecord, since: number, firstError: unknown): Promise<void> {
    let error: unknown = firstError;
    for (let attempt = 1; error !== null; attempt += 1) {
      const othersPassed = this.clicksPassed > since;
      if (!othersPassed) {
        this.complain(
          'A record fails, and no click passes to tell whether it is its own fault',
          record,
          error,
        );
        await this.pause(attempt);
      }
      error = await this.attempt([record]);
      if (error !== null && othersPassed && record.is !== 'mark') return this.quarantine(record, error);
    }
  }

  private async quarantine(record: ReadClick | Unreadable, cause: unknown): Promise<void> {
    this.logger.error(
      { position: record.position, key: record.key, err: cause },
      'A record is poison: to the dead letters',
    );
    for (let attempt = 1; ; attempt += 1) {
      try {
        return this.count([record], await quarantine(this.pool, record, errorMessage(cause)), 0);
      } catch (error) {
        this.complain('The dead letters cannot be written', record, error);
        await this.pause(attempt);
      }
    }
  }

  /** Hands one batch to the handler until it is settled (null) or fails for good (the error). */
  private async attempt(batch: readonly ReadRecord[]): Promise<unknown> {
    for (let attempt = 1; ; attempt += 1) {
      const startedAt = performance.now();
      try {
        const { clickAgeMaxDays } = this.options;
        const settlement = await chargeClicks(this.pool, batch, { clickAgeMaxDays });
        this.clicksPassed += settlement.outcomes.filter(({ outcome }) => PASSED.has(outcome)).length;
        if (this.complainedAt > 0) this.logger.info('The database settles clicks again');
        this.complainedAt = 0;
        this.metrics.databaseUp.set(1);
        this.count(batch, settlement, (performance.now() - startedAt) / 1_000);
        return null;
      } catch (error) {
        const kind = failureKind(error);
        this.metrics.batchRetries.inc({ cause: kind });
        if (kind === 'permanent') return error;
        if (kind === 'invariant') {
          this.onInvariant(error);
          throw error;
        }
        this.metrics.databaseUp.set(0);
        this.complain('The database does not settle clicks; they wait', batch[0], error);
        await this.pause(attempt);
      }
    }
  }

  private async pause(attempt: number): Promise<void> {
    await sleep(backoffMs(attempt), this.stop.signal);
    if (this.stop.signal.aborted) throw new TollwayError(STOPPING, 'Stopped before the batch was settled');
  }

  private complain(message: string, record: ReadRecord | undefined, error: unknown): void {
    if (Date.now() - this.complainedAt < COMPLAIN_MS) return;
    this.complainedAt = Date.now();
    this.logger.warn({ position: record?.position, problem: errorMessage(error) }, message);
  }

  private count(batch: readonly ReadRecord[], settlement: Settlement, seconds: number): void {
    const { metrics } = this;
    if (seconds > 0) metrics.batchDuration.observe(seconds);
    metrics.batchSize.observe(batch.length);
    const now = Date.now();
    const counts = new Map<string, { outcome: string; reason: string; count: number }>();
    for (const [index, record] of batch.entries()) {
      const { outcome, reason } = settlement.outcomes[index] ?? { outcome: 'duplicate', reason: null };
      if (record.is === 'mark') continue;
      if (outcome === 'duplicate') metrics.duplicates.inc();
      else if (isForeign(record)) metrics.foreignRecords.inc();
      else {
        const key = `${outcome} ${reason}`;
        const found = counts.get(key) ?? { outcome, reason: reason ?? '', count: 0 };
        found.count += 1;
        counts.set(key, found);
        if (record.is === 'click')
          metrics.clickToCharge.observe(Math.max(0, now - record.click.clickedAt) / 1_000);
      }
    }
    for (const { outcome, reason, count } of counts.values()) metrics.clicks.inc({ outcome, reason }, count);
    for (const [currency, micros] of settlement.overDeliveryMicros) {
      metrics.overDelivery.inc({ currency }, Number(micros) / 1e6);
    }
  }
}

function cut<T>(items: readonly T[], size: number): T[][] {
  const pieces: T[][] = [];
  for (let at = 0; at < items.length; at += size) pieces.push(items.slice(at, at + size));
  return pieces;
}
