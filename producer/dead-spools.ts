import { mkdirSync, readdirSync, rmdirSync, rmSync, statSync } from 'node:fs';
import { basename, join } from 'node:path';
import { errorCode, TollwayError } from '../common/errors.ts';
import { type FileLock, lockFile } from '../common/file-lock.ts';
import { isUuid } from '../common/uuid.ts';
import { RELAYED_NAME, readRelayed } from './relay-position.ts';
import { LOCK_NAME } from './spool.ts';
import { listSegments, scanSegment } from './spool-format.ts';

/** A spool whose owner is gone, now ours: nothing is appended to it any more. */
export type DeadSpool = {
  readonly spoolId: string;
  readonly folder: string;
  /** How many clicks its owner accepted. */
  readonly accepted: number;
  readonly bytes: number;
  /** Bytes behind the last whole record of its last segment: what a crash of the host tore, or lost. */
  readonly tornBytes: number;
  /** The first sequence of the segment that has them, or `null`. */
  readonly tornSegment: number | null;
  readonly release: () => void;
};

/**
 * Adopts the spools below `root` that nobody owns, one after the other: the next is looked at when the caller asks for it. Any number of
 * adopters may do so at the same time: each spool has one lock, held by its owner or by one of them. `onUnreadable` hears of one that
 * cannot be read; it stays where it is. A look at one spool takes a turn of the event loop of its own.
 */
export async function* adoptDeadSpools(
  root: string,
  onUnreadable: (spoolId: string, error: unknown) => void = (_, error) => {
    throw error;
  },
  isWanted: (spoolId: string) => boolean = () => true,
): AsyncGenerator<DeadSpool, void> {
  mkdirSync(root, { recursive: true, mode: 0o700 });
  for (const spoolId of readdirSync(root).filter((name) => isUuid(name) && isWanted(name))) {
    await new Promise((resolve) => setImmediate(resolve));
    let spool: DeadSpool | null = null;
    try {
      spool = await adoptSpool(join(root, spoolId));
    } catch (error) {
      onUnreadable(spoolId, error);
    }
    if (spool !== null) yield spool;
  }
}

/** Adopts one spool, or returns `null` if it is owned, or just went. Throws `not_a_spool`. */
export async function adoptSpool(folder: string): Promise<DeadSpool | null> {
  const spoolId = basename(folder);
  if (!isUuid(spoolId)) {
    throw new TollwayError(
      'not_a_spool',
      `Expected a spool folder, named after its id (a UUID), got "${spoolId}"`,
    );
  }
  const lock = takeLock(folder);
  if (lock === null) return null;
  try {
    const segments = listSegments(folder);
    const last = segments.at(-1);
    const scan = last ? await scanSegment(last.path) : { records: 0, tornBytes: 0 };
    return {
      spoolId,
      folder,
      // Once all segments are relayed and deleted, only the relay's position tells.
      accepted: last ? last.firstSequence - 1 + scan.records : (readRelayed(folder) ?? 0),
      tornBytes: scan.tornBytes,
      tornSegment: scan.tornBytes > 0 && last ? last.firstSequence : null,
      bytes: segments.reduce((sum, segment) => sum + statSync(segment.path).size, 0),
      release: () => lock.release(),
    };
  } catch (error) {
    lock.release();
    throw error;
  }
}

function takeLock(folder: string): FileLock | null {
  try {
    return lockFile(join(folder, LOCK_NAME));
  } catch (error) {
    // Another adopter has emptied and removed it a moment ago.
    if (errorCode(error) === 'ENOENT' || !folderExists(folder)) return null;
    throw error;
  }
}

function folderExists(folder: string): boolean {
  return statSync(folder, { throwIfNoEntry: false })?.isDirectory() ?? false;
}

/** Removes the folder of a spool that is relayed to its end; the lock goes last, still held. */
export function removeSpool(folder: string): void {
  if (!folderExists(folder)) return;
  // The relay has deleted every segment that held a click.
  for (const segment of listSegments(folder)) rmSync(segment.path);
  rmSync(join(folder, RELAYED_NAME), { force: true });
  rmSync(join(folder, LOCK_NAME), { force: true });
  try {
    rmdirSync(folder);
  } catch (error) {
    // A passing adopter may have made a new lock in it: it will find the folder empty and remove it.
    if (errorCode(error) !== 'ENOTEMPTY' && errorCode(error) !== 'ENOENT') throw error;
  }
}
