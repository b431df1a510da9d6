import { closeSync, openSync, statSync } from 'node:fs';
import { dirname } from 'node:path';
import { DatabaseSync } from 'node:sqlite';

/** A lock that is held until `release`, or until the process ends, when the kernel releases it. */
export type FileLock = { readonly release: () => void };

const SQLITE_BUSY = 5;
/** https://www.sqlite.org/rescode.html#cantopen */
const SQLITE_CANTOPEN = 14;

/** Every held lock. Without a reference, the garbage collector would close the database and release the lock. */
const held = new Set<DatabaseSync>();

/**
 * Takes an exclusive lock on a file. Returns `null` if another process holds it or the file has been removed. Does not wait.
 *
 * Node has no `flock`, but SQLite locks files correctly on every platform: an immediate transaction on an empty database is a lock that the
 * kernel releases with the process. It does not use process ids, so it also works between containers that share a disk of one host. Of
 * several concurrent callers exactly one gets the lock: SQLite takes its RESERVED lock in one step. Its EXCLUSIVE lock takes several steps,
 * so two callers could both fail. https://www.sqlite.org/lockingv3.html
 * Throws the error of the file system if the file cannot be opened.
 */
export function lockFile(path: string): FileLock | null {
  const before = inodeOf(path);
  const database = openDatabase(path);
  try {
    // Nothing is written, so no journal file is needed.
    database.exec('pragma journal_mode = memory; begin immediate');
  } catch (error) {
    database.close();
    if ((error as { errcode?: number }).errcode === SQLITE_BUSY) return null;
    throw error;
  }
  const after = inodeOf(path);
  if (after === null || (before !== null && before !== after)) {
    // The previous owner removed the file before it was locked here, so this lock is on a file without a name.
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

/** Opens the database of a lock, or throws the error of the file system: SQLite itself reports only "unable to open". */
function openDatabase(path: string): DatabaseSync {
  try {
    // No timeout, because waiting for a lock would block the event loop.
    return new DatabaseSync(path, { timeout: 0 });
  } catch (error) {
    // Opening the folder fails for the same reason, such as no free descriptor, and Node's error names it. Not the file itself: closing it
    // would release the POSIX locks that this process can hold on it.
    if ((error as { errcode?: number }).errcode === SQLITE_CANTOPEN) closeSync(openSync(dirname(path), 'r'));
    throw error;
  }
}

function inodeOf(path: string): number | null {
  return statSync(path, { throwIfNoEntry: false })?.ino ?? null;
}
