import {
  closeSync,
  fdatasync,
  fdatasyncSync,
  fsyncSync,
  ftruncateSync,
  mkdirSync,
  openSync,
  renameSync,
  rmSync,
  writeSync,
} from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { errorCode, TollwayError } from '../common/errors.ts';
import { type FileLock, lockFile } from '../common/file-lock.ts';
import { isOutOfResources } from '../common/open-files.ts';
import type { Logger } from '../common/telemetry/logger.ts';
import { ThrottledLog } from '../common/telemetry/throttled-log.ts';
import { uuidV7 } from '../common/uuid.ts';
import {
  FRAME_BYTES_MAX,
  FRAME_HEADER_BYTES,
  SEGMENT_HEADER,
  segmentPath,
  writeFrameHeader,
} from './spool-format.ts';

export type SpoolOptions = {
  /** Folder that holds the spools of one ad server, each in a folder named after its id. */
  readonly root: string;
  /** Most bytes on disk, adopted spools included. */
  readonly bytesMax: number;
  readonly segmentBytes: number;
  readonly sync: 'os' | 'interval' | 'each';
  readonly syncIntervalMs: number;
};

/** Called at the end of the turn: the click's sequence, or `null` if the spool could not take it. */
export type AppendCallback = (sequence: number | null) => void;

/** What a file system says that is full, and one whose user may have no more of it. */
const DISK_FULL = new Set(['ENOSPC', 'EDQUOT']);
/** https://www.sqlite.org/rescode.html#full */
const SQLITE_FULL = 13;
/** The name of a spool's lock inside its folder. */
export const LOCK_NAME = 'lock';

/**
 * The durable local log in front of the broker, owned by this process alone.
 *
 * Everything appended in one turn of the event loop is written with one `writeSync` at the end of that
 * turn; only then are the callers told, and only then may a redirect leave. A write that fails or falls short
 * is cut back to its last whole record: those before the cut are accepted, the others were never there.
 *
 * States: its folder is made, or a full disk has no room for it yet; a segment is open, or none is (before the first append, after a roll, after a failure); the next
 * turn opens one. A cut that fails closes the segment: whatever lies behind its last accepted record is
 * ignored by readers, because the next segment's name says which sequence comes next.
 */
export class Spool {
  readonly spoolId: string;
  readonly folder: string;
  /** How many clicks were accepted: the highest sequence. */
  accepted = 0;
  /** Bytes on disk, adopted spools included. */
  bytes = 0;
  /** Why the last append was refused, or `null` when it was not. */
  problem: string | null = null;
  /** Called when there is something for the relay to do: clicks to send, or a segment that ended before its time. */
  onChange: () => void = () => {};

  private readonly options: SpoolOptions;
  private readonly logger: Logger;
  private readonly refusals: ThrottledLog;
  /** `null` as long as a full disk has no room for the folder. */
  private lock: FileLock | null = null;
  /** Whether the folder's name outlives a power loss, as far as SPOOL_SYNC asks for it. No click is taken before. */
  private folderIsKept = false;
  private file: number | null = null;
  private fileBytes = 0;
  private fileFirst = 0;

  private turn = Buffer.allocUnsafe(262_144);
  private turnBytes = 0;
  private turnEnds: number[] = [];
  private turnCallers: AppendCallback[] = [];
  private turnScheduled = false;

  private syncing = false;
  private unsynced: (() => void)[] = [];
  private readonly syncTimer: NodeJS.Timeout | undefined;

  constructor(options: SpoolOptions, logger: Logger) {
    this.options = options;
    this.logger = logger;
    this.refusals = new ThrottledLog(logger, {
      failed:
        'The spool refuses clicks: they are not charged, or not redirected (SPOOL_FULL). Check the disk and the broker',
      recovered: 'The spool takes clicks again',
      level: 'error',
    });
    this.spoolId = uuidV7();
    this.folder = join(options.root, this.spoolId);
    try {
      this.prepare();
    } catch (error) {
      // It may be full of the clicks of those before us, which somebody has to relay.
      if (!isDiskFull(error) && !isOutOfResources(error)) throw error;
      this.refuse(error);
    }
    if (options.sync === 'interval') {
      this.syncTimer = setInterval(() => this.syncSoon(() => {}), options.syncIntervalMs);
      this.syncTimer.unref();
    }
  }

  /** Takes one encoded click of at most `CLICK_BYTES_MAX` bytes. Answers at the end of this turn. */
  append(click: string, appended: AppendCallback): void {
    const room = this.turnBytes + FRAME_HEADER_BYTES + click.length * 3;
    if (room > this.turn.length) this.growTurn(room);
    const from = this.turnBytes + FRAME_HEADER_BYTES;
    const length = this.turn.write(click, from);
    if (length + FRAME_HEADER_BYTES > FRAME_BYTES_MAX) {
      throw new Error(
        `Expected a click of at most ${FRAME_BYTES_MAX - FRAME_HEADER_BYTES} bytes, got ${length}`,
      );
    }
    this.turnBytes = from + length;
    this.turnEnds.push(this.turnBytes);
    this.turnCallers.push(appended);
    if (!this.turnScheduled) {
      this.turnScheduled = true;
      setImmediate(() => this.endTurn());
    }
  }

  /** The first sequence of the segment that is being written, or `null` when none is open. */
  get openSegment(): number | null {
    return this.file === null ? null : this.fileFirst;
  }

  /** After a refusal: looks whether the disk takes writes again, so that readiness can return without traffic. */
  probe(): void {
    if (this.problem === null || this.bytes + FRAME_BYTES_MAX > this.options.bytesMax) return;
    this.roll();
    if (this.open() !== null) this.takesClicks();
  }

  /** Ends the open segment: the next click begins a new one. */
  roll(): void {
    if (this.file === null) return;
    const empty = this.fileBytes === SEGMENT_HEADER.length;
    try {
      if (this.options.sync !== 'os') fdatasyncSync(this.file);
      closeSync(this.file);
      if (empty) rmSync(segmentPath(this.folder, this.fileFirst), { force: true });
    } catch (error) {
      this.refuse(error);
    }
    if (empty) this.bytes -= SEGMENT_HEADER.length;
    this.file = null;
  }

  /** Writes what this turn holds, and ends the last segment. Nothing may be appended afterwards. */
  finish(): void {
    this.endTurn();
    clearInterval(this.syncTimer);
    this.roll();
  }

  /** Lets go of the folder: from now on anybody may adopt it. */
  close(): void {
    this.finish();
    this.lock?.release();
  }

  private growTurn(room: number): void {
    const larger = Buffer.allocUnsafe(Math.max(room, this.turn.length * 2));
    this.turn.copy(larger, 0, 0, this.turnBytes);
    this.turn = larger;
  }

  private endTurn(): void {
    const callers = this.turnCallers;
    const ends = this.turnEnds;
    this.turnCallers = [];
    this.turnEnds = [];
    this.turnScheduled = false;
    if (callers.length === 0) return;

    const taken = this.write(ends);
    this.turnBytes = 0;
    const first = this.accepted + 1;
    this.accepted += taken;
    const answer = () => {
      callers.forEach((caller, index) => {
        this.tell(caller, index < taken ? first + index : null);
      });
    };
    if (this.options.sync === 'each' && taken > 0) this.syncSoon(answer);
    else answer();
    this.onChange();
  }

  /** Tells one caller. Whatever it does, the others of its turn are told too. */
  private tell(caller: AppendCallback, sequence: number | null): void {
    try {
      caller(sequence);
    } catch (error) {
      this.logger.error(
        { spoolId: this.spoolId, sequence, err: error },
        'A click was recorded and could not be answered',
      );
    }
  }

  /** Writes the turn and returns how many of its records are wholly in the file. */
  private write(ends: readonly number[]): number {
    const { bytesMax, segmentBytes } = this.options;
    const room = bytesMax - this.bytes - (this.file === null ? SEGMENT_HEADER.length : 0);
    const fitting = countUpTo(ends, room);
    if (fitting < ends.length)
      this.refuse(new TollwayError('spool_full', `The spool is full: ${bytesMax} bytes`));
    const file = fitting === 0 ? null : this.open();
    if (file === null) {
      this.roll();
      return 0;
    }
    this.seal(ends, fitting);
    const written = this.writeAll(file, this.turn, ends[fitting - 1] as number, this.fileBytes);
    const taken = countUpTo(ends, written);
    const kept = taken === 0 ? 0 : (ends[taken - 1] as number);
    // Counted before the cut: one that fails ends the segment, and an empty segment is removed.
    this.fileBytes += kept;
    this.bytes += kept;
    if (written > kept) this.cut(file, this.fileBytes);
    if (taken === ends.length) this.takesClicks();
    // A spool that refuses gives up its open segment too, or what is relayed of it could never be deleted.
    if (this.fileBytes >= segmentBytes || taken < ends.length) this.roll();
    return taken;
  }

  /** Writes the headers of this turn's first frames: only now is it known which segment they stand in. */
  private seal(ends: readonly number[], count: number): void {
    let at = 0;
    for (let frame = 0; frame < count; frame += 1) {
      const end = ends[frame] ?? at;
      writeFrameHeader(
        this.turn,
        at,
        end - at - FRAME_HEADER_BYTES,
        this.accepted + 1 + frame - this.fileFirst,
      );
      at = end;
    }
  }

  /** Makes and locks the folder and has its name kept, unless that is done. Throws `bad_data_dir`, or what `fsync` throws. */
  private prepare(): void {
    this.lock ??= createFolder(this.folder);
    if (this.folderIsKept) return;
    if (this.options.sync !== 'os') syncFolder(this.options.root);
    this.folderIsKept = true;
  }

  private open(): number | null {
    if (this.file !== null) return this.file;
    try {
      this.prepare();
      const file = openSync(segmentPath(this.folder, this.accepted + 1), 'w');
      if (this.options.sync !== 'os') syncFolder(this.folder);
      if (this.writeAll(file, SEGMENT_HEADER, SEGMENT_HEADER.length, 0) < SEGMENT_HEADER.length) {
        closeSync(file);
        return null;
      }
      this.file = file;
      this.fileFirst = this.accepted + 1;
      this.fileBytes = SEGMENT_HEADER.length;
      this.bytes += SEGMENT_HEADER.length;
      return file;
    } catch (error) {
      this.refuse(error);
      return null;
    }
  }

  /** Writes until all is written or the disk refuses; returns how many bytes are in the file. */
  private writeAll(file: number, bytes: Buffer, length: number, position: number): number {
    let written = 0;
    try {
      while (written < length) {
        const some = writeSync(file, bytes, written, length - written, position + written);
        if (some === 0) break;
        written += some;
      }
    } catch (error) {
      this.refuse(error);
    }
    return written;
  }

  private cut(file: number, length: number): void {
    try {
      ftruncateSync(file, length);
    } catch (error) {
      this.refuse(error);
      this.roll();
    }
  }

  /** Group commit: callers that arrive while a sync runs share the next one. */
  private syncSoon(synced: () => void): void {
    this.unsynced.push(synced);
    if (this.syncing || this.file === null) {
      if (this.file === null) this.answerSynced(); // a roll has synced already
      return;
    }
    this.syncing = true;
    const waiting = this.unsynced;
    this.unsynced = [];
    fdatasync(this.file, (error) => {
      this.syncing = false;
      // The clicks are written and will be relayed; that the disk may forget them is said, not hidden.
      if (error && errorCode(error) !== 'EBADF') this.refuse(error);
      for (const answer of waiting) answer();
      if (this.unsynced.length > 0) this.syncSoon(() => {});
    });
  }

  private answerSynced(): void {
    const waiting = this.unsynced;
    this.unsynced = [];
    for (const answer of waiting) answer();
  }

  private refuse(error: unknown): void {
    const problem = error instanceof Error ? error.message : String(error);
    this.refusals.fail({ spoolId: this.spoolId, problem });
    this.problem = problem;
  }

  private takesClicks(): void {
    this.problem = null;
    this.refusals.recover({ spoolId: this.spoolId });
  }
}

/** How many of the ascending `ends` are at most `limit`. */
function countUpTo(ends: readonly number[], limit: number): number {
  if ((ends.at(-1) ?? 0) <= limit) return ends.length;
  const index = ends.findIndex((end) => end > limit);
  return index < 0 ? ends.length : index;
}

/**
 * Makes and locks the folder of a new spool. It gets its name only when it is locked: an adopter that passes by
 * never sees it without its owner.
 */
function createFolder(folder: string): FileLock {
  const unnamed = join(dirname(folder), `.${basename(folder)}`);
  try {
    mkdirSync(unnamed, { recursive: true, mode: 0o700 });
    const lock = lockFile(join(unnamed, LOCK_NAME));
    if (lock === null) throw new Error(`${unnamed} is taken`);
    renameSync(unnamed, folder);
    return lock;
  } catch (error) {
    const message = `The spool folder ${folder} cannot be used: ${(error as Error).message}`;
    throw new TollwayError('bad_data_dir', message, { cause: error });
  }
}

/** Whether an error, or what caused it, says that the disk is full. */
function isDiskFull(error: unknown): boolean {
  if (DISK_FULL.has(errorCode(error) ?? '')) return true;
  if (!(error instanceof Error)) return false;
  return (error as { errcode?: unknown }).errcode === SQLITE_FULL || isDiskFull(error.cause);
}

/** A new file survives power loss only once its folder was synced. */
function syncFolder(folder: string): void {
  const handle = openSync(folder, 'r');
  try {
    fsyncSync(handle);
  } finally {
    closeSync(handle);
  }
}
