import { statSync } from 'node:fs';
import type { Problem } from '../common/telemetry/problems.ts';
import { listSegments } from '../producer/spool-format.ts';

type BlockedSpool = {
  readonly problem: Problem;
  /** Its clicks wait at least since then, on the clock of `performance.now()`. */
  readonly waitsSince: number;
};

/**
 * The spools of ended processes that could not be read or relayed when that was last tried. No relay is at work on them, so this is where
 * the age of their clicks is known. Every worker finds the same ones.
 */
export class BlockedSpools {
  private readonly blocked = new Map<string, BlockedSpool>();
  private readonly found = new Set<string>();

  /** Notes a spool that is blocked since `since`, on the clock of `performance.now()`. */
  add(folder: string, reason: string, since: number): void {
    this.found.add(folder);
    const problem = { what: 'spool', reason: `${folder} cannot be relayed: ${reason}`, forMs: 0 };
    this.blocked.set(folder, { problem, waitsSince: Math.min(since, firstChangeOf(folder)) });
  }

  delete(folder: string): void {
    this.blocked.delete(folder);
  }

  /** Call after each search: forgets the spools that were not blocked in it, because another process has relayed them. */
  endSearch(): void {
    for (const folder of this.blocked.keys()) if (!this.found.has(folder)) this.blocked.delete(folder);
    this.found.clear();
  }

  has(folder: string): boolean {
    return this.blocked.has(folder);
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

/** When the oldest segment of a folder was last changed, on the clock of `performance.now()`; now if it cannot be read. */
function firstChangeOf(folder: string): number {
  try {
    const [first] = listSegments(folder);
    const ageMs = first === undefined ? 0 : Date.now() - statSync(first.path).mtimeMs;
    return performance.now() - Math.max(0, ageMs);
  } catch {
    return performance.now();
  }
}
