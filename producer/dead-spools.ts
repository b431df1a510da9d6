import { readdirSync, rmdirSync, rmSync, statSync } from 'node:fs';
import { basename, join } from 'node:path';
import { createFolder } from '../common/create-folder.ts';
import { errorCode, TollwayError } from '../common/errors.ts';
import { type FileLock, lockFile } from '../common/file-lock.ts';
import { isOutOfResources } from '../common/open-files.ts';
import { isUuid } from '../common/uuid.ts';
import { RELAYED_NAME, readRelayed } from './relay-position.ts';
import { LOCK_NAME } from './spool-folder.ts';
import { listSegments, scanSegment } from './spool-format.ts';

/** A spool that this process has adopted because its owner is gone. Nothing is appended to it any more. */
export type DeadSpool = {
  readonly spoolId: string;
  readonly folder: string;
  /** Number of clicks that its owner accepted. */
  readonly accepted: number;
  /** Bytes of its segments. */
  readonly bytes: number;
  /** Incomplete bytes behind the last whole record of its last segment, left by a crash of the process or host. */
  readonly tornBytes: number;
  /** The first sequence of the segment with incomplete bytes, or `null`. */
  readonly tornSegment: number | null;
  /** Releases the lock. */
  readonly release: () => void;
};

export type AdoptionOptions = {
  /** Which spools are adopted; all by default. */
  readonly isWanted?: (spoolId: string) => boolean;
  /** Gets a spool that cannot be read, and why. By default the error is thrown. */
  readonly onUnreadable?: (spoolId: string, error: unknown) => void;
  /** Gets a spool whose lock another process has. */
  readonly onInUse?: (spoolId: string) => void;
};

/**
 * Adopts the spools below `root` that have no owner, lazily, one at a time, the oldest first. Several processes can adopt at the same time: the
 * lock of a spool is held by its owner or by one adopter. A spool that cannot be read stays where it is. A lack of file descriptors or memory is
 * thrown. Each spool is checked in its own event-loop iteration, so that redirects do not wait for many spools.
 */
export async function* adoptDeadSpools(
  root: string,
  { isWanted = () => true, onUnreadable, onInUse }: AdoptionOptions = {},
): AsyncGenerator<DeadSpool, void> {
  createFolder(root, 0o700);
  const spoolIds = readdirSync(root).filter((name) => isUuid(name) && isWanted(name));
  for (const spoolId of spoolIds.sort()) {
    await new Promise((resolve) => setImmediate(resolve));
    let spool: DeadSpool | null = null;
    try {
      spool = await adoptSpool(join(root, spoolId));
    } catch (error) {
      // Whether it has an owner is not known.
      if (onUnreadable === undefined || isOutOfResources(error)) throw error;
      onUnreadable(spoolId, error);
      continue;
    }
    if (spool === null) onInUse?.(spoolId);
    else yield spool;
  }
}

/** Adopts one spool. Returns `null` if it has an owner or was removed. Throws `not_a_spool`, and errors of the file system. */
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
      // If all segments are relayed and deleted, the position of the relay is the number of clicks.
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
    // Another adopter has just relayed and removed it.
    if (errorCode(error) === 'ENOENT' || !folderExists(folder)) return null;
    throw error;
  }
}

function folderExists(folder: string): boolean {
  return statSync(folder, { throwIfNoEntry: false })?.isDirectory() ?? false;
}

/** Removes the folder of a spool that is completely relayed. The caller holds its lock, whose file is removed last. */
export function removeSpool(folder: string): void {
  if (!folderExists(folder)) return;
  // These segments have no clicks: the relay has deleted or quarantined the others.
  for (const segment of listSegments(folder)) rmSync(segment.path);
  rmSync(join(folder, RELAYED_NAME), { force: true });
  rmSync(join(folder, LOCK_NAME), { force: true });
  try {
    rmdirSync(folder);
  } catch (error) {
    // Another adopter may have created a new lock file in the folder. It will find no clicks and remove the folder.
    if (errorCode(error) !== 'ENOTEMPTY' && errorCode(error) !== 'ENOENT') throw error;
  }
}
