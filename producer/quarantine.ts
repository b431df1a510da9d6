import { mkdirSync, readdirSync, renameSync, rmSync, statSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import type { Segment } from './spool-format.ts';

/** The folder beside the spools that keeps damaged segments. */
export const QUARANTINE_NAME = 'quarantine';
/** Most bytes kept there; the oldest segments go first. */
export const QUARANTINE_BYTES_MAX = 67_108_864;

/**
 * Moves a damaged segment out of its spool in place of deleting it, so that an operator can look for what it held. Deletes the oldest
 * ones beyond `bytesMax`; the segment itself, too, if it is larger. Returns its new path.
 */
export function quarantineSegment(segment: Segment, bytesMax = QUARANTINE_BYTES_MAX): string {
  const spool = dirname(segment.path);
  const folder = join(dirname(spool), QUARANTINE_NAME);
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  // A spool id begins with its time: the names sort by age.
  const path = join(folder, `${basename(spool)}.${basename(segment.path)}`);
  renameSync(segment.path, path);
  let bytes = 0;
  for (const name of readdirSync(folder).sort().reverse()) {
    const kept = join(folder, name);
    // Another process of this folder may have deleted it.
    bytes += statSync(kept, { throwIfNoEntry: false })?.size ?? 0;
    if (bytes > bytesMax) rmSync(kept, { force: true });
  }
  return path;
}
