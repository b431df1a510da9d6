import { readdirSync, renameSync, rmSync, statSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { createFolder } from '../common/create-folder.ts';
import type { Segment } from './spool-format.ts';

/** Name of the folder for damaged segments, beside the spools. */
const DAMAGED_SEGMENTS_FOLDER = 'quarantine';
/** Most bytes in that folder: 64 MiB. */
const DAMAGED_BYTES_MAX = 67_108_864;

/**
 * Moves a damaged segment from its spool to the folder `quarantine`, so that an operator can examine it. Then deletes the oldest segments
 * until the folder has at most `bytesMax` bytes; also the new segment, if it is larger than that. Returns the new path.
 */
export function keepDamagedSegment(segment: Segment, bytesMax = DAMAGED_BYTES_MAX): string {
  const spool = dirname(segment.path);
  const folder = join(dirname(spool), DAMAGED_SEGMENTS_FOLDER);
  createFolder(folder, 0o700);
  // A spool id begins with its time, so names sort by age.
  const path = join(folder, `${basename(spool)}.${basename(segment.path)}`);
  renameSync(segment.path, path);
  let bytes = 0;
  for (const name of readdirSync(folder).sort().reverse()) {
    const file = join(folder, name);
    // Another process may have deleted it.
    bytes += statSync(file, { throwIfNoEntry: false })?.size ?? 0;
    if (bytes > bytesMax) rmSync(file, { force: true });
  }
  return path;
}
