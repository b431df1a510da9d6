import { rmSync, statSync } from 'node:fs';
import type { Publisher } from '../brokers/publisher.ts';
import { errorMessage } from '../common/errors.ts';
import { isOutOfResources } from '../common/open-files.ts';
import { backoffMs, sleep } from '../common/process.ts';
import type { Logger } from '../common/telemetry/logger.ts';
import type { Metrics } from '../common/telemetry/metrics.ts';
import type { Problem } from '../common/telemetry/problems.ts';
import { ThrottledLog } from '../common/telemetry/throttled-log.ts';
import { uuidV7TimeMs } from '../common/uuid.ts';
import { clickKey } from '../contract/click-event.ts';
import { readRecord } from '../contract/read-record.ts';
import { keepDamagedSegment } from './damaged-segments.ts';
import { removeSpool } from './dead-spools.ts';
import { RelayPosition, readRelayed } from './relay-position.ts';
import { RetryingPublisher } from './retrying-publisher.ts';
import { listSegments, type Segment } from './spool-format.ts';
import { SpoolReader } from './spool-reader.ts';
import { createWatermarkLog, WatermarkSender } from './watermark-sender.ts';

/** The spool that a relay empties: the one of this process, or an adopted one. */
export type RelayedSpool = {
  readonly spoolId: string;
  readonly folder: string;
  /** The highest sequence. It grows while the spool is in use. */
  readonly accepted: number;
  /** The first sequence of the open segment, or `null`. */
  readonly openSegment: number | null;
  /** The first sequence of the segment with incomplete bytes behind its last record, or `null`. */
  readonly tornSegment?: number | null;
  /** Ends the open segment. Called after damage, so that new clicks go to a new segment. */
  readonly roll: () => void;
};

export type RelayOptions = {
  /** Most clicks in one call of the publisher. */
  readonly batchMax: number;
  /** Time to wait for more clicks before a batch is published, in ms. */
  readonly lingerMs: number;
  /** Shortest time between two watermarks, in ms. */
  readonly watermarkIntervalMs: number;
  /** Time after which a failed attempt to send the last watermark is not repeated, in ms; 2 000 by default. */
  readonly lastWatermarkMs?: number;
};

/** Default of `lastWatermarkMs`: other spools of the ad server must not wait for a partition that takes none. */
const LAST_WATERMARK_MS = 2_000;

export type RelayDeps = {
  readonly publisher: Publisher;
  readonly options: RelayOptions;
  readonly metrics: Metrics;
  readonly logger: Logger;
  /** Called with the number of bytes that were deleted from the spool. */
  readonly onFreed?: (bytes: number) => void;
  /** Logs that the broker takes no watermark. Relays with the same one do not repeat each other's lines. */
  readonly watermarkLog?: ThrottledLog;
};

/**
 * Publishes one spool's clicks to the broker, in order and one batch at a time, and saves its position after each. It can be killed at any
 * point: clicks that were published after the last saved position are published again.
 *
 * A watermark is the number of clicks that the spool has accepted, sent after all of them were published. The relay does not count clicks
 * itself, so a click that it cannot read back counts as accepted and shows as missing in reconciliation.
 */
export class Relay {
  private readonly spool: RelayedSpool;
  private readonly deps: RelayDeps;
  private readonly reader: SpoolReader;
  private readonly resourceLog: ThrottledLog;
  private readonly publisher: RetryingPublisher;
  private readonly watermarks: WatermarkSender;
  private readonly stop = new AbortController();
  private readonly position: RelayPosition;
  private readonly ending = new AbortController();
  private wake: () => void = () => {};
  /** Time of the oldest unconfirmed click on the clock of `performance.now()`, or `null`. */
  private oldestClickAt: number | null = null;
  /** The highest sequence that the broker has confirmed. */
  private relayed: number;
  /** Whether the position was compared with the segments on disk. */
  private isPositionChecked = false;
  /** Ranges of sequences that could not be read back, in segments that still exist; `to` is exclusive. */
  private damage: { from: number; to: number }[] = [];

  constructor(spool: RelayedSpool, deps: RelayDeps) {
    this.spool = spool;
    this.deps = deps;
    this.publisher = new RetryingPublisher(spool.spoolId, deps, this.stop.signal);
    const { publisher, logger, options, watermarkLog: log = createWatermarkLog(logger) } = deps;
    const watermarkDeps = { publisher, log, intervalMs: options.watermarkIntervalMs };
    this.watermarks = new WatermarkSender(spool.spoolId, watermarkDeps, this.stop.signal);
    this.resourceLog = new ThrottledLog(deps.logger, {
      failed:
        'The relay lacks file descriptors or memory. Clicks wait in the spool, and the relay retries. If this lasts, raise ulimit -n',
      recovered: 'The relay has file descriptors and memory again',
    });
    this.relayed = this.readPosition();
    this.reader = new SpoolReader(spool.folder, this.relayed + 1);
    this.position = new RelayPosition(spool.folder, deps.logger);
  }

  /**
   * Returns the position of an earlier relay of this spool. If the position is damaged or beyond the accepted clicks, the relay begins at
   * the first segment on disk: earlier segments were deleted after they were relayed. The ledger drops the duplicates.
   */
  private readPosition(): number {
    const { folder, spoolId, accepted } = this.spool;
    const relayed = readRelayed(folder);
    if (relayed !== null && relayed <= accepted) return relayed;
    const first = listSegments(folder)[0]?.firstSequence ?? 1;
    this.deps.logger.error(
      { spoolId, relayed, accepted, from: first },
      'The position of the relay is damaged or beyond the clicks on disk. The relay publishes all clicks on disk again; none is charged twice',
    );
    return first - 1;
  }

  /**
   * Moves an old position to the first segment on disk, whose predecessors were deleted after they were relayed. The position is not synced to
   * disk, so a loss of power can leave an old one beside segments that are already deleted. If it took a segment itself, the watermark counts
   * its clicks all the same, and reconciliation reports them as missing. Throws errors of the file system.
   */
  private passDeletedSegments(): void {
    const { folder, spoolId, accepted } = this.spool;
    // The folder of a spool without clicks may not exist.
    const first = accepted === 0 ? 1 : (listSegments(folder)[0]?.firstSequence ?? 1);
    this.isPositionChecked = true;
    if (this.relayed >= first - 1) return;
    this.deps.logger.warn(
      { spoolId, relayed: this.relayed, accepted, from: first },
      'The saved position of the relay is older than the first segment on disk, as after a loss of power. The relay begins at that segment: it deletes segments only after it has published them. If clicks were lost with a segment instead, reconcile reports them as missing',
    );
    this.relayed = first - 1;
    this.reader.next = first;
  }

  /** Age of the oldest click that the broker has not confirmed, in ms, or `null`. A change of the system clock does not affect it. */
  get oldestClickAgeMs(): number | null {
    return this.oldestClickAt === null ? null : performance.now() - this.oldestClickAt;
  }

  /** Why no call of the broker has succeeded for more than 5 s, or `null`. */
  get problem(): Problem | null {
    return this.publisher.problem;
  }

  /** Wakes the relay: the spool has grown or ended a segment. */
  notify(): void {
    this.wake();
  }

  /** Announces that no click will be appended any more: `run` resolves when all clicks are relayed. */
  end(): void {
    this.ending.abort();
    this.wake();
  }

  /** Stops `run` soon. Clicks that were not relayed stay in the folder. */
  abort(): void {
    this.ending.abort();
    this.stop.abort();
    this.wake();
  }

  /**
   * Relays until `end` was called and the spool is empty, then sends the last watermark and removes the folder. Resolves to true after
   * that, to false if `abort` stopped it before, or if the broker does not take the last watermark: the next relay of the folder sends it.
   * Throws errors of the file system, but retries a lack of file descriptors or memory.
   */
  async run(): Promise<boolean> {
    const { options } = this.deps;
    try {
      for (let failures = 0; !this.stop.signal.aborted; ) {
        try {
          const count = await this.relayBatch();
          this.watermarks.sendIfDue(this.spool.accepted, this.relayed);
          failures = 0;
          this.resourceLog.recover({ spoolId: this.spool.spoolId });
          const left = this.reader.next <= this.spool.accepted;
          if (count >= options.batchMax || (left && this.ending.signal.aborted)) continue;
          if (this.ending.signal.aborted) return await this.finish();
        } catch (error) {
          if (!isOutOfResources(error)) throw error;
          failures += 1;
          await this.waitForResources(error, failures);
          continue;
        }
        await this.waitForClicks();
      }
      return false;
    } finally {
      // Also after an error: a watermark that is being sent ends.
      this.stop.abort();
      this.reader.close();
      this.position.close();
    }
  }

  /** Waits, then continues from the last saved position. Clicks that were published after it are published again. */
  private async waitForResources(error: unknown, failures: number): Promise<void> {
    this.resourceLog.fail({ spoolId: this.spool.spoolId, problem: errorMessage(error) });
    this.reader.next = this.relayed + 1;
    this.reader.close();
    await sleep(backoffMs(failures), this.stop.signal);
  }

  /** Reads and publishes one batch, saves the position and deletes relayed segments. Returns the number of published clicks. */
  private async relayBatch(): Promise<number> {
    const { metrics, logger, options } = this.deps;
    if (!this.isPositionChecked) this.passDeletedSegments();
    const { firstSequence, payloads, damaged } = this.reader.read(this.spool.accepted, options.batchMax);
    if (damaged > 0) {
      this.spool.roll();
      metrics.spoolDamaged.inc(damaged);
      this.damage.push({ from: firstSequence - damaged, to: firstSequence });
      logger.error(
        { spoolId: this.spool.spoolId, before: firstSequence, damaged },
        'Clicks in the spool cannot be read back and are not charged',
      );
    }
    const [first] = payloads;
    if (first) {
      this.oldestClickAt = performance.now() - Math.max(0, Date.now() - clickTimeMs(first));
      const records = payloads.map((value, index) => ({
        key: clickKey(this.spool.spoolId, firstSequence + index),
        value,
      }));
      if (!(await this.publisher.publish(records))) return 0;
      metrics.relayedClicks.inc(records.length);
    }
    if (first || damaged > 0) this.savePosition(this.reader.next - 1);
    this.freeSegments();
    if (this.reader.next > this.spool.accepted) this.oldestClickAt = null;
    return payloads.length;
  }

  private async finish(): Promise<boolean> {
    // Sent even if nothing changed: the owner of an adopted spool may have died before it sent its last watermark.
    const { lastWatermarkMs = LAST_WATERMARK_MS } = this.deps.options;
    const { accepted } = this.spool;
    if (accepted > 0 && !(await this.watermarks.sendLast(accepted, lastWatermarkMs))) return false;
    removeSpool(this.spool.folder);
    return true;
  }

  private savePosition(sequence: number): void {
    this.relayed = sequence;
    this.position.save(sequence);
  }

  /** Deletes the segments that are completely relayed and not open. */
  private freeSegments(): void {
    // A spool whose folder was never created, because the disk is full, has no clicks.
    if (this.spool.accepted === 0 && !this.spool.tornSegment) return;
    const segments = listSegments(this.spool.folder);
    for (const [index, segment] of segments.entries()) {
      const end = segments[index + 1]?.firstSequence ?? this.spool.accepted + 1;
      if (end > this.relayed + 1 || segment.firstSequence === this.spool.openSegment) break;
      const { size } = statSync(segment.path);
      this.reader.closeSegment(segment);
      this.removeSegment(segment, end);
      this.deps.onFreed?.(size);
    }
  }

  /** Deletes a segment. Moves it to the quarantine instead if a click could not be read back or incomplete bytes follow the last one. */
  private removeSegment(segment: Segment, end: number): void {
    const { tornSegment = null, spoolId } = this.spool;
    const isDamaged =
      segment.firstSequence === tornSegment ||
      this.damage.some(({ from, to }) => from < end && to > segment.firstSequence);
    if (!isDamaged) return rmSync(segment.path);
    const path = keepDamagedSegment(segment);
    this.damage = this.damage.filter(({ to }) => to > end);
    this.deps.logger.warn(
      { spoolId, path },
      'The relay published the readable part of a damaged segment and keeps the file',
    );
  }

  /** Waits for a click or the interval of watermarks, then for `lingerMs`, so that more clicks join the batch. */
  private async waitForClicks(): Promise<void> {
    const { lingerMs, watermarkIntervalMs } = this.deps.options;
    if (this.reader.next > this.spool.accepted) {
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, watermarkIntervalMs);
        this.wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
      this.wake = () => {};
    }
    if (lingerMs > 0) await sleep(lingerMs, this.ending.signal);
  }
}

/** The time of a click, in Unix ms; the current time if the payload is not a click. */
function clickTimeMs(payload: Buffer): number {
  const read = readRecord({ key: null, value: payload }, 'spool');
  return read.is === 'click' ? uuidV7TimeMs(read.click.clickId) : Date.now();
}
