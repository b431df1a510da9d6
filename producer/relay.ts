import { closeSync, constants, openSync, rmSync, statSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import type { Publisher } from '../brokers/publisher.ts';
import { errorMessage } from '../common/errors.ts';
import { isOutOfResources } from '../common/open-files.ts';
import { backoffMs, sleep } from '../common/process.ts';
import type { Logger } from '../common/telemetry/logger.ts';
import type { Metrics } from '../common/telemetry/metrics.ts';
import type { Problem } from '../common/telemetry/problems.ts';
import { ThrottledLog } from '../common/telemetry/throttled-log.ts';
import { uuidV7TimeMs } from '../common/uuid.ts';
import { type BrokerRecord, clickKey, readRecord, watermarkRecord } from '../contract/click-event.ts';
import { removeSpool } from './dead-spools.ts';
import { quarantineSegment } from './quarantine.ts';
import { encodePosition, RELAYED_NAME, readRelayed } from './relay-position.ts';
import { listSegments, type Segment } from './spool-format.ts';
import { SpoolReader } from './spool-reader.ts';

/** What a relay needs to know of the spool it empties, alive or dead. */
export type RelayedSpool = {
  readonly spoolId: string;
  readonly folder: string;
  readonly accepted: number;
  /** The first sequence of the segment still being written, or `null`. */
  readonly openSegment: number | null;
  /** The first sequence of a segment with bytes behind its last whole record. */
  readonly tornSegment?: number | null;
  /** Ends the segment being written: after damage, what comes next begins a new one. */
  readonly roll: () => void;
};

export type RelayOptions = {
  readonly batchMax: number;
  readonly lingerMs: number;
  readonly watermarkIntervalMs: number;
};

export type RelayDeps = {
  readonly publisher: Publisher;
  readonly options: RelayOptions;
  readonly metrics: Metrics;
  readonly logger: Logger;
  /** Told how many bytes were deleted from disk. */
  readonly onFreed: (bytes: number) => void;
};

/** A broker that has confirmed nothing for so long is reported, in ms. */
const SILENT_MS = 5_000;

/**
 * Moves one spool's clicks to the broker, in order and one batch at a time, and remembers how far it got.
 * It dies anywhere without harm: what was published and not yet remembered is published again.
 *
 * Every mark is a number that the *spool* has counted, sent once everything up to it has been published:
 * a click that the relay fails to find is missing from the ledger and not from the watermark.
 */
export class Relay {
  private readonly spool: RelayedSpool;
  private readonly deps: RelayDeps;
  private readonly reader: SpoolReader;
  private readonly resources: ThrottledLog;
  private readonly publishing: ThrottledLog;
  private readonly stop = new AbortController();
  private readonly memory: RelayMemory;
  private readonly ending = new AbortController();
  private wake: () => void = () => {};
  /** When the oldest unconfirmed click was clicked, on the clock of `performance.now()`. */
  private oldest: number | null = null;
  /** Since when a confirmation is waited for (monotonic, ms), over all attempts; `null` while nothing is. */
  private askedAt: number | null = null;
  private lastFailure = 'it has not answered';
  private relayed: number;
  private sentWatermark = 0;
  /** Sequences that could not be read back, from `from` to before `to`, in segments that are still there. */
  private damage: { from: number; to: number }[] = [];
  private watermarkSentAt = Number.NEGATIVE_INFINITY;
  private nextWatermark: number | null = null;

  constructor(spool: RelayedSpool, deps: RelayDeps) {
    this.spool = spool;
    this.deps = deps;
    this.publishing = new ThrottledLog(deps.logger, {
      failed: 'The broker does not accept clicks. They wait in the spool',
      recovered: 'The broker accepts clicks again',
    });
    this.resources = new ThrottledLog(deps.logger, {
      failed:
        'The relay lacks file descriptors or memory; clicks wait in the spool, and it tries again. Raise ulimit -n if this lasts',
      recovered: 'The relay has file descriptors and memory again',
    });
    this.relayed = this.firstPosition();
    this.reader = new SpoolReader(spool.folder, this.relayed + 1);
    this.memory = new RelayMemory(spool.folder, deps.logger);
  }

  /**
   * How far an earlier relay got. A position that is damaged, or that lies beyond what the segments hold, skips nothing: relaying begins
   * at the first segment on disk, because what lay before it was relayed before it was deleted. The ledger drops what comes twice.
   */
  private firstPosition(): number {
    const { folder, spoolId, accepted } = this.spool;
    const relayed = readRelayed(folder);
    if (relayed !== null && relayed <= accepted) return relayed;
    const first = listSegments(folder)[0]?.firstSequence ?? 1;
    this.deps.logger.error(
      { spoolId, relayed, accepted, from: first },
      'The position of the relay is damaged or lies beyond the clicks on disk; all clicks on disk are relayed again, and none is charged twice',
    );
    return first - 1;
  }

  /** Age of the oldest click that the broker has not confirmed, in ms, or `null` if there is none. Steps of the system clock do not change it. */
  get oldestClickAgeMs(): number | null {
    return this.oldest === null ? null : performance.now() - this.oldest;
  }

  /** Why the broker has confirmed nothing for a while, or `null`. */
  get problem(): Problem | null {
    const forMs = this.askedAt === null ? 0 : performance.now() - this.askedAt;
    return forMs > SILENT_MS ? { what: 'broker', reason: this.lastFailure, forMs } : null;
  }

  /** Says that the spool has grown. */
  notify(): void {
    this.wake();
  }

  /** Says that nothing more will be appended: `run` ends when all is relayed. */
  end(): void {
    this.ending.abort();
    this.wake();
  }

  /** Ends `run` soon, wherever it is; what is left stays in the folder. */
  abort(): void {
    this.ending.abort();
    this.stop.abort();
    this.wake();
  }

  /**
   * Relays until the spool has ended and is empty; then sends its last watermark and removes its folder.
   * Resolves to whether it came that far (an `abort` ends it earlier).
   */
  async run(): Promise<boolean> {
    const { options } = this.deps;
    try {
      for (let failures = 0; !this.stop.signal.aborted; ) {
        try {
          const count = await this.relayBatch();
          await this.sendWatermarkIfDue();
          failures = 0;
          this.resources.recover({ spoolId: this.spool.spoolId });
          const left = this.reader.next <= this.spool.accepted;
          if (count >= options.batchMax || (left && this.ending.signal.aborted)) continue;
          if (this.ending.signal.aborted) return await this.finish();
        } catch (error) {
          if (!isOutOfResources(error)) throw error;
          failures += 1;
          await this.waitForResources(error, failures);
          continue;
        }
        await this.gather();
      }
      return false;
    } finally {
      this.reader.close();
      this.memory.close();
    }
  }

  /** Every step can be done again: what was read and not remembered is read and published again. */
  private async waitForResources(error: unknown, failures: number): Promise<void> {
    this.resources.fail({ spoolId: this.spool.spoolId, problem: errorMessage(error) });
    this.reader.next = this.relayed + 1;
    this.reader.close();
    await sleep(backoffMs(failures), this.stop.signal);
  }

  private async relayBatch(): Promise<number> {
    const { metrics, logger, options } = this.deps;
    const { firstSequence, payloads, damaged } = this.reader.read(this.spool.accepted, options.batchMax);
    if (damaged > 0) {
      this.spool.roll();
      metrics.spoolDamaged.inc(damaged);
      this.damage.push({ from: firstSequence - damaged, to: firstSequence });
      logger.error(
        { spoolId: this.spool.spoolId, before: firstSequence, damaged },
        'Spooled clicks cannot be read back',
      );
    }
    const [first] = payloads;
    if (first) {
      this.oldest = performance.now() - Math.max(0, Date.now() - clickTimeMs(first));
      const records = payloads.map((value, index) => ({
        key: clickKey(this.spool.spoolId, firstSequence + index),
        value,
      }));
      if (!(await this.publishAll(records))) return 0;
      metrics.relayedClicks.inc(records.length);
    }
    if (first || damaged > 0) this.remember(this.reader.next - 1);
    this.freeSegments();
    if (this.reader.next > this.spool.accepted) this.oldest = null;
    return payloads.length;
  }

  private publishAll(records: readonly BrokerRecord[]): Promise<boolean> {
    let left = records;
    return this.publish(async () => {
      const refused = await this.deps.publisher.publish(left);
      const progressed = refused.length < left.length;
      left = refused;
      return refused.length === 0 ? 'published' : progressed ? 'partly' : 'refused';
    });
  }

  /** Publishes for as long as it takes. False if the relay was stopped before it succeeded. */
  private async publish(send: () => Promise<'published' | 'partly' | 'refused'>): Promise<boolean> {
    const { metrics } = this.deps;
    for (let attempt = 1; !this.stop.signal.aborted; attempt += 1) {
      try {
        this.askedAt ??= performance.now();
        const result = await send();
        this.askedAt = null;
        this.lastFailure = 'it has not answered';
        metrics.relayBatches.inc({ result });
        metrics.brokerUp.set(1);
        if (result !== 'published') {
          // It answers and is at its limit. While some gets through, there is no reason to wait ever longer.
          if (result === 'partly') attempt = 1;
          await sleep(backoffMs(attempt), this.stop.signal);
          continue;
        }
        this.publishing.recover({ spoolId: this.spool.spoolId, attempt });
        return true;
      } catch (error) {
        this.lastFailure = errorMessage(error);
        metrics.relayBatches.inc({ result: 'failed' });
        metrics.brokerUp.set(0);
        this.publishing.fail({ spoolId: this.spool.spoolId, attempt, problem: errorMessage(error) });
        await sleep(backoffMs(attempt), this.stop.signal);
      }
    }
    return false;
  }

  private async sendWatermarkIfDue(): Promise<void> {
    const { accepted } = this.spool;
    if (this.nextWatermark === null) {
      const due = performance.now() - this.watermarkSentAt >= this.deps.options.watermarkIntervalMs;
      if (!due || accepted === this.sentWatermark) return;
      this.nextWatermark = accepted;
    }
    if (this.relayed >= this.nextWatermark) await this.sendWatermark(this.nextWatermark);
  }

  private async sendWatermark(accepted: number): Promise<boolean> {
    const record: BrokerRecord = watermarkRecord(this.spool.spoolId, accepted);
    const everywhere = async () => {
      await this.deps.publisher.publishEverywhere(record);
      return 'published' as const;
    };
    if (!(await this.publish(everywhere))) return false;
    this.sentWatermark = accepted;
    this.watermarkSentAt = performance.now();
    this.nextWatermark = null;
    return true;
  }

  private async finish(): Promise<boolean> {
    // Always sent: a dead spool's last watermark may have died with its owner.
    if (this.spool.accepted > 0 && !(await this.sendWatermark(this.spool.accepted))) return false;
    removeSpool(this.spool.folder);
    return true;
  }

  private remember(sequence: number): void {
    this.relayed = sequence;
    this.memory.write(sequence);
  }

  /** Deletes the segments that are relayed to their end and not written any more. */
  private freeSegments(): void {
    // A spool that never had room for its folder has no click either.
    if (this.spool.accepted === 0 && !this.spool.tornSegment) return;
    const segments = listSegments(this.spool.folder);
    for (const [index, segment] of segments.entries()) {
      const end = segments[index + 1]?.firstSequence ?? this.spool.accepted + 1;
      if (end > this.relayed + 1 || segment.firstSequence === this.spool.openSegment) break;
      const { size } = statSync(segment.path);
      this.reader.closeSegment(segment);
      this.removeSegment(segment, end);
      this.deps.onFreed(size);
    }
  }

  /** Deletes a segment, or keeps it in quarantine where a click of it could not be read back or bytes lie behind its last click. */
  private removeSegment(segment: Segment, end: number): void {
    const { tornSegment = null, spoolId } = this.spool;
    const isDamaged =
      segment.firstSequence === tornSegment ||
      this.damage.some(({ from, to }) => from < end && to > segment.firstSequence);
    if (!isDamaged) return rmSync(segment.path);
    const path = quarantineSegment(segment);
    this.damage = this.damage.filter(({ to }) => to > end);
    this.deps.logger.warn(
      { spoolId, path },
      'The relay published the readable part of a damaged segment and keeps the file',
    );
  }

  /** Waits for the first click and lets others join it; wakes for a watermark, too. */
  private async gather(): Promise<void> {
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

/** Keeps on disk how far a relay got. A full disk cannot stop it: then what it forgets is published twice. */
class RelayMemory {
  private readonly path: string;
  private file: number | null = null;
  private readonly writing: ThrottledLog;

  constructor(folder: string, logger: Logger) {
    this.path = join(folder, RELAYED_NAME);
    this.writing = new ThrottledLog(logger, {
      failed:
        'The relay cannot save its position. After a restart it publishes some clicks again; none is charged twice',
      recovered: 'The relay saves its position again',
    });
  }

  write(sequence: number): void {
    try {
      this.file ??= openSync(this.path, constants.O_WRONLY | constants.O_CREAT, 0o600);
      writeSync(this.file, encodePosition(sequence), 0, 'latin1');
      this.writing.recover({ path: this.path });
    } catch (error) {
      this.writing.fail({ path: this.path, problem: errorMessage(error) });
    }
  }

  close(): void {
    if (this.file !== null) closeSync(this.file);
  }
}

function clickTimeMs(payload: Buffer): number {
  const read = readRecord({ key: null, value: payload }, 'spool');
  return read.is === 'click' ? uuidV7TimeMs(read.click.clickId) : Date.now();
}
