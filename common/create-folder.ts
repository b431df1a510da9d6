import { mkdirSync, statSync } from 'node:fs';
import { dirname } from 'node:path';
import { errorCode } from './errors.ts';

/**
 * Creates a folder and those above it that are missing, with the permissions `mode`. Does nothing if it exists. Throws the error of the system.
 *
 * Not `mkdir` with `recursive`: in a folder that takes no new ones, such as `/proc`, the system says `ENOENT`, and Node 24 then creates the
 * existing parent and tries again, for ever.
 */
export function createFolder(path: string, mode = 0o777): void {
  const problem = tryToCreate(path, mode);
  if (problem === null) return;
  const parent = dirname(path);
  if (errorCode(problem) !== 'ENOENT' || parent === path) throw problem;
  createFolder(parent, mode);
  const secondProblem = tryToCreate(path, mode);
  if (secondProblem !== null) throw secondProblem;
}

/** The error; `null` if the folder exists now. */
function tryToCreate(path: string, mode: number): unknown {
  try {
    mkdirSync(path, { mode });
    return null;
  } catch (error) {
    const isFolder =
      errorCode(error) === 'EEXIST' && statSync(path, { throwIfNoEntry: false })?.isDirectory();
    return isFolder ? null : error;
  }
}
