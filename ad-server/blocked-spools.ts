import { statSync } from 'node:fs';
import type { Problem } from '../common/telemetry/problems.ts';
import { listSegments } from '../producer/spool-format.ts';

type BlockedSpool = {
  readonly problem: Problem;
  /** Bytes of its segments, as far as they can be listed. */
  readonly bytes: number;
  /** Its clicks wait at least since then, on the clock of `performance.now()`. */
  readonly waitsSince: number;
};

/**
 * The spools of ended processes that could not be read or relayed when that was last tried. No relay is at work on them, so this is where
 * their bytes and the age of their clicks are known. Every worker finds the same ones.
 */
export class BlockedSpools {
  private readonly blocked = new Map<string, BlockedSpool>();
  private readonly found = new Set<string>();

  /** Notes a spool that is blocked since `since`, on the clock of `performance.now()`. */
  add(folder: string, reason: string, since: number): void {
    this.found.add(folder);
    const { bytes, changedAt } = measure(folder);
    const problem = { what: 'spool', reason: `${folder} cannot be relayed: ${reason}`, forMs: 0 };
    this.blocked.set(folder, { problem, bytes, waitsSince: Math.min(since, changedAt) });
  }

  delete(folder: string): void {
    this.blocked.delete(folder);
  }

  /** Call after each search: forgets the spools that were not blocked in it, because another process has relayed them. */
  endSearch(): void {
    for (const folder of this.blocked.keys()) if (!this.found.has(folder)) this.blocked.delete(folder);
    this.found.clear();
  }

  get bytes(): number {
    return [...this.blocked.values()].reduce((sum, { bytes }) => sum + bytes, 0);
  }

  /** The longest time that a click is known to wait in one of them, in ms; 0 if none is blocked. */
  get oldestClickAgeMs(): number {
    const now = performance.now();
    return Math.max(0, ...[...this.blocked.values()].map(({ waitsSince }) => now - waitsSince));
  }

  /** A problem for each of them. */
  get problems(): readonly Problem[] {
    return [...this.blocked.values()].map(({ problem }) => problem);
  }
}

/** The bytes of the segments in a folder, and when the oldest one was last changed. What cannot be read counts as nothing. */
function measure(folder: string): { bytes: number; changedAt: number } {
  try {
    const stats = listSegments(folder).map(({ path }) => statSync(path));
    const ageMs = Math.max(0, ...stats.slice(0, 1).map(({ mtimeMs }) => Date.now() - mtimeMs));
    return {
      bytes: stats.reduce((sum, { size }) => sum + size, 0),
      changedAt: performance.now() - ageMs,
    };
  } catch {
    return { bytes: 0, changedAt: performance.now() };
  }
}
