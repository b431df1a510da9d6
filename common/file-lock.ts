import { closeSync, openSync, statSync } from 'node:fs';
import { dirname } from 'node:path';
import { DatabaseSync } from 'node:sqlite';

/** Given up by `release`, or by the kernel when the process ends in whatever way. */
export type FileLock = { readonly release: () => void };

const SQLITE_BUSY = 5;
/** https://www.sqlite.org/rescode.html#cantopen */
const SQLITE_CANTOPEN = 14;

/** Every lock that is held: one that nobody refers to would be given up by the garbage collector. */
const held = new Set<DatabaseSync>();

/**
 * Takes an exclusive lock on a file, or returns `null` while another process has it or the file is gone.
 *
 * Node has no `flock`. SQLite has, and knows the pitfalls of POSIX record locks on every platform: an
 * immediate transaction on an empty database is a lock that the kernel drops with the process. No process
 * id is looked at, so it holds across containers that share a disk of one host. Of any number of takers exactly one wins, and none
 * waits: SQLite's RESERVED lock is taken in one step, where its EXCLUSIVE lock takes several and two takers can turn each other away.
 * https://www.sqlite.org/lockingv3.html
 * Throws what the file system says if the file cannot be opened.
 */
export function lockFile(path: string): FileLock | null {
  const before = inodeOf(path);
  const database = openDatabase(path);
  try {
    // Nothing is ever written, so no journal has to lie beside the lock.
    database.exec('pragma journal_mode = memory; begin immediate');
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

/** SQLite says of every failure only that it cannot open the file. */
function openDatabase(path: string): DatabaseSync {
  try {
    // A busy wait would hold up the event loop.
    return new DatabaseSync(path, { timeout: 0 });
  } catch (error) {
    // Without a descriptor the folder cannot be opened either, and that error says why. Opening the file itself would not do: closing
    // it again gives up the POSIX locks that this process may hold on it.
    if ((error as { errcode?: number }).errcode === SQLITE_CANTOPEN) closeSync(openSync(dirname(path), 'r'));
    throw error;
  }
}

function inodeOf(path: string): number | null {
  return statSync(path, { throwIfNoEntry: false })?.ino ?? null;
}
