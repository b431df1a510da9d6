import { closeSync, fsyncSync, openSync, renameSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { createFolder } from '../common/create-folder.ts';
import { errorCode, TollwayError } from '../common/errors.ts';
import { type FileLock, lockFile } from '../common/file-lock.ts';

/** Name of the lock file in a spool's folder. */
export const LOCK_NAME = 'lock';

/** Error codes of a full file system and of an exhausted disk quota. */
const DISK_FULL = new Set(['ENOSPC', 'EDQUOT']);
/** https://www.sqlite.org/rescode.html#full */
const SQLITE_FULL = 13;

/**
 * Creates the folder of a new spool and locks it. The folder gets its final name after it is locked, so that an adopter never sees a spool
 * without a lock. Throws `bad_data_dir`.
 */
export function createSpoolFolder(folder: string): FileLock {
  const hidden = join(dirname(folder), `.${basename(folder)}`);
  try {
    createFolder(hidden, 0o700);
    const lock = lockFile(join(hidden, LOCK_NAME));
    if (lock === null) throw new Error(`${hidden} is locked by another process`);
    renameSync(hidden, folder);
    return lock;
  } catch (error) {
    const message = `The spool folder ${folder} cannot be used: ${(error as Error).message}`;
    throw new TollwayError('bad_data_dir', message, { cause: error });
  }
}

/** Syncs a folder. A new file survives a loss of power only after its folder was synced. */
export function syncFolder(folder: string): void {
  const handle = openSync(folder, 'r');
  try {
    fsyncSync(handle);
  } finally {
    closeSync(handle);
  }
}

/** Whether an error, or one of its causes, means that the disk is full. */
export function isDiskFull(error: unknown): boolean {
  if (DISK_FULL.has(errorCode(error) ?? '')) return true;
  if (!(error instanceof Error)) return false;
  return (error as { errcode?: unknown }).errcode === SQLITE_FULL || isDiskFull(error.cause);
}
