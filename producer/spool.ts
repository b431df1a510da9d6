import {
  closeSync,
  fdatasync,
  fdatasyncSync,
  ftruncateSync,
  openSync,
  rmSync,
  statSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { errorCode, TollwayError } from '../common/errors.ts';
import type { FileLock } from '../common/file-lock.ts';
import { isOutOfResources } from '../common/open-files.ts';
import type { Logger } from '../common/telemetry/logger.ts';
import { ThrottledLog } from '../common/telemetry/throttled-log.ts';
import { uuidV7 } from '../common/uuid.ts';
import { AppendBatch, type AppendCallback } from './append-batch.ts';
import { createSpoolFolder, isDiskFull, syncFolder } from './spool-folder.ts';
import { FRAME_BYTES_MAX, SEGMENT_HEADER, segmentPath } from './spool-format.ts';

export type SpoolOptions = {
  /** Folder with the spools of one ad server, each in a folder named after its id. */
  readonly root: string;
  /** Most bytes on disk, together with `othersBytes`. */
  readonly bytesMax: number;
  /** Size from which a segment is ended, in bytes. */
  readonly segmentBytes: number;
  /** When clicks are synced to the disk: by the operating system, every `syncIntervalMs`, or before each callback. */
  readonly sync: 'os' | 'interval' | 'each';
  readonly syncIntervalMs: number;
};

/**
 * The durable log in front of the broker, on the local disk. It belongs to this process alone.
 *
 * All clicks that are appended in one event-loop iteration are written with one `writeSync` at its end. Their callbacks run after the write,
 * so a redirect is sent only after its click is in the file. If a write fails or is short, the file is truncated behind its last whole
 * record; the records before that are accepted, the others get `null`.
 *
 * States: the folder exists, or a full disk has not allowed it yet; a segment is open, or none is (before the first append, after a
 * roll, after a failure), and the next append opens one. If a truncation fails, the segment is ended: readers ignore the bytes behind its
 * last accepted record, because the name of the next segment is the next sequence.
 */
export class Spool {
  readonly spoolId: string;
  readonly folder: string;
  /** Number of accepted clicks, which is the highest sequence. */
  accepted = 0;
  /** Bytes on disk. */
  bytes = 0;
  /** Bytes of other spools that share the limit, as they were last measured. */
  othersBytes = 0;
  /** Why the last append failed, or `null` if it succeeded. */
  problem: string | null = null;
  /** Called when the relay has work: clicks to publish, or an ended segment to delete. */
  onChange: () => void = () => {};

  private readonly options: SpoolOptions;
  private readonly logger: Logger;
  private readonly failureLog: ThrottledLog;
  /** `null` while a full disk does not allow to create the folder. */
  private lock: FileLock | null = null;
  /** Whether the folder is as durable as `sync` requires. No click is accepted before. */
  private isFolderDurable = false;
  private file: number | null = null;
  private fileBytes = 0;
  private fileFirstSequence = 0;

  private readonly batch = new AppendBatch();
  private flushScheduled = false;

  private syncing = false;
  private awaitingSync: (() => void)[] = [];
  private readonly syncTimer: NodeJS.Timeout | undefined;

  /** Creates and locks the folder. Throws `bad_data_dir`, but not for a full disk or a lack of file descriptors, which can pass. */
  constructor(options: SpoolOptions, logger: Logger) {
    this.options = options;
    this.logger = logger;
    this.failureLog = new ThrottledLog(logger, {
      failed:
        'The spool accepts no clicks: they are not recorded. Visitors are redirected without a charge, or get 503 (SPOOL_FULL=refuse). Check the disk and the broker',
      recovered: 'The spool accepts clicks again',
      level: 'error',
    });
    this.spoolId = uuidV7();
    this.folder = join(options.root, this.spoolId);
    try {
      this.prepareFolder();
    } catch (error) {
      // The disk may be full of clicks in abandoned spools. This process has to start to relay them.
      if (!isDiskFull(error) && !isOutOfResources(error)) throw error;
      this.reportFailure(error);
    }
    if (options.sync === 'interval') {
      this.syncTimer = setInterval(() => this.syncSoon(() => {}), options.syncIntervalMs);
      this.syncTimer.unref();
    }
  }

  /**
   * Appends an encoded click of at most `CLICK_BYTES_MAX` bytes. `callback` runs after the write at the end of this event-loop iteration,
   * with `sync: 'each'` after the next sync. Throws on a longer click.
   */
  append(click: string, callback: AppendCallback): void {
    this.batch.add(click, callback);
    if (this.flushScheduled) return;
    this.flushScheduled = true;
    setImmediate(() => this.flush());
  }

  /** The first sequence of the open segment, or `null` if none is open. */
  get openSegment(): number | null {
    return this.file === null ? null : this.fileFirstSequence;
  }

  /**
   * Whether the folder was moved or deleted. What is written to the open segment then is where the relay does not read it. `false`
   * while that is not known, such as for an error of the disk.
   */
  get isGone(): boolean {
    if (this.lock === null) return false;
    try {
      return statSync(this.folder, { throwIfNoEntry: false }) === undefined;
    } catch {
      return false;
    }
  }

  /** After a failure: checks whether the disk accepts writes, so that the ad server becomes ready again without traffic. */
  probe(): void {
    if (this.problem === null || this.bytes + this.othersBytes + FRAME_BYTES_MAX > this.options.bytesMax)
      return;
    this.roll();
    if (this.openFile() !== null) this.reportSuccess();
  }

  /** Ends the open segment. The next click begins a new one. */
  roll(): void {
    if (this.file === null) return;
    const isEmpty = this.fileBytes === SEGMENT_HEADER.length;
    try {
      try {
        if (this.options.sync !== 'os') fdatasyncSync(this.file);
      } finally {
        closeSync(this.file);
      }
      if (isEmpty) rmSync(segmentPath(this.folder, this.fileFirstSequence), { force: true });
    } catch (error) {
      this.reportFailure(error);
    }
    if (isEmpty) this.bytes -= SEGMENT_HEADER.length;
    this.file = null;
  }

  /** Writes the clicks appended so far and ends the last segment. Do not append afterwards. */
  finish(): void {
    this.flush();
    clearInterval(this.syncTimer);
    this.roll();
  }

  /** As `finish`, then releases the folder, so that another process can adopt it. */
  close(): void {
    this.finish();
    this.lock?.release();
  }

  private flush(): void {
    this.flushScheduled = false;
    const { ends, callbacks } = this.batch.take();
    if (callbacks.length === 0) return;
    const written = this.write(ends);
    const first = this.accepted + 1;
    this.accepted += written;
    const runCallbacks = () => {
      callbacks.forEach((callback, index) => {
        this.runCallback(callback, index < written ? first + index : null);
      });
    };
    if (this.options.sync === 'each' && written > 0) this.syncSoon(runCallbacks);
    else runCallbacks();
    this.onChange();
  }

  /** Runs a callback. If it throws, the other callbacks of the batch still run. */
  private runCallback(callback: AppendCallback, sequence: number | null): void {
    try {
      callback(sequence);
    } catch (error) {
      const fields = { spoolId: this.spoolId, sequence, err: error };
      if (sequence === null)
        this.logger.error(fields, 'A click was not recorded, and its answer could not be sent');
      else this.logger.error(fields, 'A click was recorded, but its redirect could not be sent');
    }
  }

  /** Writes the batch and returns how many of its records are completely in the file. */
  private write(ends: readonly number[]): number {
    const { bytesMax, segmentBytes } = this.options;
    const headerBytes = this.file === null ? SEGMENT_HEADER.length : 0;
    const freeBytes = bytesMax - this.bytes - this.othersBytes - headerBytes;
    const fittingCount = countUpTo(ends, freeBytes);
    const fitting = fittingCount === ends.length ? ends : ends.slice(0, fittingCount);
    if (fitting.length < ends.length) {
      this.reportFailure(new TollwayError('spool_full', `The spools are full: ${bytesMax} bytes`));
    }
    const file = fitting.length === 0 ? null : this.openFile();
    if (file === null) {
      this.roll();
      return 0;
    }
    // The headers contain the index in the segment, which is known since the segment is open.
    this.batch.writeHeaders(fitting, this.accepted + 1 - this.fileFirstSequence);
    const writtenBytes = this.writeBytes(file, this.batch.bytes, fitting.at(-1) ?? 0, this.fileBytes);
    const written = countUpTo(fitting, writtenBytes);
    const wholeBytes = written === 0 ? 0 : (fitting[written - 1] ?? 0);
    // Counted before the truncation: if that fails, it ends the segment, and an empty segment is removed.
    this.fileBytes += wholeBytes;
    this.bytes += wholeBytes;
    if (writtenBytes > wholeBytes) this.truncate(file, this.fileBytes);
    if (written === ends.length) this.reportSuccess();
    // After a failure the segment is ended too: the relay does not delete an open segment, so a full spool would stay full.
    if (this.fileBytes >= segmentBytes || written < ends.length) this.roll();
    return written;
  }

  /** Creates and locks the folder and syncs its parent, unless that is done. Throws `bad_data_dir`, or the error of `fsync`. */
  private prepareFolder(): void {
    this.lock ??= createSpoolFolder(this.folder);
    if (this.isFolderDurable) return;
    if (this.options.sync !== 'os') syncFolder(this.options.root);
    this.isFolderDurable = true;
  }

  /** Opens a segment unless one is open. Returns `null` if that fails. */
  private openFile(): number | null {
    if (this.file !== null) return this.file;
    try {
      this.prepareFolder();
      const file = openSync(segmentPath(this.folder, this.accepted + 1), 'w');
      try {
        if (this.options.sync !== 'os') syncFolder(this.folder);
        if (this.writeBytes(file, SEGMENT_HEADER, SEGMENT_HEADER.length, 0) < SEGMENT_HEADER.length)
          return null;
        this.file = file;
      } finally {
        if (this.file === null) closeSync(file);
      }
      this.fileFirstSequence = this.accepted + 1;
      this.fileBytes = SEGMENT_HEADER.length;
      this.bytes += SEGMENT_HEADER.length;
      return this.file;
    } catch (error) {
      this.reportFailure(error);
      return null;
    }
  }

  /** Writes until `length` bytes are written or a write fails. Returns how many bytes were written. */
  private writeBytes(file: number, bytes: Buffer, length: number, position: number): number {
    let written = 0;
    try {
      while (written < length) {
        const count = writeSync(file, bytes, written, length - written, position + written);
        if (count === 0) break;
        written += count;
      }
    } catch (error) {
      this.reportFailure(error);
    }
    return written;
  }

  private truncate(file: number, length: number): void {
    try {
      ftruncateSync(file, length);
    } catch (error) {
      this.reportFailure(error);
      this.roll();
    }
  }

  /** Group commit: requests that arrive while a sync runs share the next one. */
  private syncSoon(onSynced: () => void): void {
    this.awaitingSync.push(onSynced);
    if (this.file === null) {
      // The roll that ended the segment has synced it.
      for (const run of this.takeAwaitingSync()) run();
      return;
    }
    if (this.syncing) return;
    this.syncing = true;
    const callbacks = this.takeAwaitingSync();
    fdatasync(this.file, (error) => {
      this.syncing = false;
      // The clicks are written and will be relayed, so they are accepted. The failure is reported, because a loss of power could lose them.
      if (error && errorCode(error) !== 'EBADF') this.reportFailure(error);
      for (const run of callbacks) run();
      if (this.awaitingSync.length > 0) this.syncSoon(() => {});
    });
  }

  private takeAwaitingSync(): (() => void)[] {
    const callbacks = this.awaitingSync;
    this.awaitingSync = [];
    return callbacks;
  }

  private reportFailure(error: unknown): void {
    const problem = error instanceof Error ? error.message : String(error);
    this.failureLog.fail({ spoolId: this.spoolId, problem });
    this.problem = problem;
  }

  private reportSuccess(): void {
    this.problem = null;
    this.failureLog.recover({ spoolId: this.spoolId });
  }
}

/** How many of the ascending `ends` are at most `limit`. */
function countUpTo(ends: readonly number[], limit: number): number {
  if ((ends.at(-1) ?? 0) <= limit) return ends.length;
  const index = ends.findIndex((end) => end > limit);
  return index < 0 ? ends.length : index;
}
