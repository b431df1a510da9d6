import { statSync } from 'node:fs';
import { DatabaseSync } from 'node:sqlite';

/** Given up by `release`, or by the kernel when the process ends in whatever way. */
export type FileLock = { readonly release: () => void };

const SQLITE_BUSY = 5;
/** How long a taker waits, in ms: of two at the same instant one gives way, and without a wait both would. */
const WAIT_MS = 20;

/** Every lock that is held: one that nobody refers to would be given up by the garbage collector. */
const held = new Set<DatabaseSync>();

/**
 * Takes an exclusive lock on a file, or returns `null` while another process has it or the file is gone.
 *
 * Node has no `flock`. SQLite has, and knows the pitfalls of POSIX record locks on every platform: an
 * exclusive transaction on an empty database is a lock that the kernel drops with the process. No process
 * id is looked at, so it holds across containers that share a disk of one host; two takers cannot both win.
 * Throws what the file system says if the file cannot be opened.
 */
export function lockFile(path: string): FileLock | null {
  const before = inodeOf(path);
  const database = new DatabaseSync(path, { timeout: WAIT_MS });
  try {
    // Nothing is ever written, so no journal has to lie beside the lock.
    database.exec('pragma journal_mode = memory; begin exclusive');
  } catch (error) {
    database.close();
    if ((error as { errcode?: number }).errcode === SQLITE_BUSY) return null;
    throw error;
  }
  const after = inodeOf(path);
  if (after === null || (before !== null && before !== after)) {
    // Its last owner removed it before we had it locked: what we hold may have no name any more.
    database.close();
    return null;
  }
  held.add(database);
  return {
    release: () => {
      if (held.delete(database)) database.close();
    },
  };
}

function inodeOf(path: string): number | null {
  return statSync(path, { throwIfNoEntry: false })?.ino ?? null;
}
