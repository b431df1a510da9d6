import { mkdirSync, readdirSync, readFileSync, rmdirSync, rmSync, statSync } from 'node:fs';
import { basename, join } from 'node:path';
import { errorCode, TollwayError } from '../common/errors.ts';
import { type FileLock, lockFile } from '../common/file-lock.ts';
import { isUuid } from '../common/uuid.ts';
import { LOCK_NAME } from './spool.ts';
import { countRecords, listSegments } from './spool-format.ts';

/** The file in a spool's folder that says how far the relay got. */
export const RELAYED_NAME = 'relayed';

/** A spool whose owner is gone, now ours: nothing is appended to it any more. */
export type DeadSpool = {
  readonly origin: string;
  readonly folder: string;
  /** How many clicks its owner accepted. */
  readonly accepted: number;
  readonly bytes: number;
  readonly release: () => void;
};

/**
 * Adopts every spool below `root` that nobody owns. Any number of adopters may do so at the same time:
 * each spool has one lock, held by its owner or by one of them. One that cannot be read is told of, and left where it is.
 */
export function adoptDeadSpools(
  root: string,
  onUnreadable: (origin: string, error: unknown) => void = (_, error) => {
    throw error;
  },
  isWanted: (origin: string) => boolean = () => true,
): DeadSpool[] {
  mkdirSync(root, { recursive: true, mode: 0o700 });
  return readdirSync(root)
    .filter((origin) => isUuid(origin) && isWanted(origin))
    .flatMap((origin) => {
      try {
        return adoptSpool(join(root, origin)) ?? [];
      } catch (error) {
        onUnreadable(origin, error);
        return [];
      }
    });
}

/** Adopts one spool, or returns `null` if it is owned, or just went. Throws `not_a_spool`. */
export function adoptSpool(folder: string): DeadSpool | null {
  const origin = basename(folder);
  if (!isUuid(origin)) {
    throw new TollwayError(
      'not_a_spool',
      `Expected a spool folder, named after its origin (a UUID), got "${origin}"`,
    );
  }
  const lock = takeLock(folder);
  if (lock === null) return null;
  try {
    const segments = listSegments(folder);
    const last = segments.at(-1);
    const recorded = last ? last.firstSequence - 1 + countRecords(last.path) : 0;
    return {
      origin,
      folder,
      accepted: Math.max(recorded, readRelayed(folder)),
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

/** How far the relay got with a spool: the highest sequence the broker has confirmed, or 0. */
export function readRelayed(folder: string): number {
  try {
    const digits = readFileSync(join(folder, RELAYED_NAME), 'latin1');
    // A torn or foreign file means reading from the start: the database drops what comes twice.
    return /^\d{16}\n$/.test(digits) ? Number(digits) : 0;
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return 0;
    throw error;
  }
}

/** Removes the folder of a spool that is relayed to its end; the lock goes last, still held. */
export function removeSpool(folder: string): void {
  if (!folderExists(folder)) return;
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
