import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { errorCode, TollwayError } from '../../common/errors.ts';

/**
 * Throws `embedded_postgres` unless a folder is the data folder of this major version of PostgreSQL. `npm start` creates the folder only if it
 * does not exist: an empty one can be the mount point of a volume that is missing.
 */
export function assertCluster(folder: string, major: string): void {
  const found = readVersion(folder);
  if (found === major) return;
  const expected = `Expected a data folder of PostgreSQL ${major} in ${folder}, got`;
  throw new TollwayError('embedded_postgres', `${expected} ${describe(folder, found)}`);
}

/** The major version of a data folder; `null` if it is none. */
function readVersion(folder: string): string | null {
  try {
    return readFileSync(join(folder, 'PG_VERSION'), 'utf8').trim();
  } catch (error) {
    // A folder, or a file in place of the folder, without this file is no data folder.
    if (['ENOENT', 'ENOTDIR'].includes(errorCode(error) ?? '')) return null;
    throw error;
  }
}

function describe(folder: string, found: string | null): string {
  if (found !== null)
    return `one of PostgreSQL ${found}. Use the version of Tollway that created it, or dump its database and restore it into a new DATA_DIR`;
  const names = namesIn(folder);
  if (names === null) return 'a file. Move it away, or set DATA_DIR to another folder';
  if (names.length === 0)
    return (
      'an empty folder. If a volume should be mounted there, mount it: its database would be missing. ' +
      'Otherwise remove the folder, and npm start creates it; mount a new volume at DATA_DIR instead'
    );
  return 'a folder without the file PG_VERSION. Restore it from a backup, or move it away, and npm start creates an empty database';
}

function namesIn(folder: string): string[] | null {
  try {
    // A new file system has this folder.
    return readdirSync(folder).filter((name) => name !== 'lost+found');
  } catch (error) {
    if (errorCode(error) === 'ENOTDIR') return null;
    throw error;
  }
}
