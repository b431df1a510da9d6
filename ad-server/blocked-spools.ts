import { existsSync, statSync } from 'node:fs';
import { errorMessage } from '../common/errors.ts';
import type { Logger } from '../common/telemetry/logger.ts';
import type { Problem } from '../common/telemetry/problems.ts';
import { ThrottledLog } from '../common/telemetry/throttled-log.ts';
import { listSegments } from '../producer/spool-format.ts';

/** `reason`: why the latest attempt failed; `null` while this or another process is at work on it. Times are on the clock of `performance.now()`. */
type Failure = {
  readonly log: ThrottledLog;
  readonly failedSince: number;
  readonly reason: string | null;
  /** Its clicks wait at least since then. */
  readonly waitsSince: number;
};

/**
 * The spools of ended processes that cannot be read or relayed, and the folder of all spools if it cannot be searched, by their folders. No
 * relay is at work on them, so this is where the age of their clicks is known.
 */
export class BlockedSpools {
  private readonly logger: Logger;
  private readonly failures = new Map<string, Failure>();

  constructor(logger: Logger) {
    this.logger = logger;
  }

  /** Notes and logs that a spool cannot be read or relayed for now. */
  block(folder: string, error: unknown, message: string): void {
    const before = this.failures.get(folder);
    const recovered = 'The spools of ended processes are relayed again';
    const log = before?.log ?? new ThrottledLog(this.logger, { failed: message, recovered, level: 'error' });
    const failedSince = before?.failedSince ?? performance.now();
    const reason = errorMessage(error);
    log.fail({ folder, problem: reason }, message);
    const waitsSince = Math.min(failedSince, firstChangeOf(folder));
    this.failures.set(folder, { log, failedSince, reason, waitsSince });
  }

  /** This or another process is at work on a spool: it counts as blocked again when this one fails. */
  unblock(folder: string): void {
    const failure = this.failures.get(folder);
    if (failure) this.failures.set(folder, { ...failure, reason: null });
  }

  /** Forgets a spool that was relayed, or a folder that was searched. */
  end(folder: string): void {
    this.failures.get(folder)?.log.recover({ folder });
    this.failures.delete(folder);
  }

  /** Forgets the spools that another process has relayed. */
  endRemoved(): void {
    for (const folder of this.failures.keys()) if (!existsSync(folder)) this.end(folder);
  }

  has(folder: string): boolean {
    return typeof this.failures.get(folder)?.reason === 'string';
  }

  /** The longest time that a click is known to wait in one of them, in ms; 0 if none is blocked. */
  get oldestClickAgeMs(): number {
    const now = performance.now();
    return Math.max(0, ...this.blocked.map(([, { waitsSince }]) => now - waitsSince));
  }

  /** A problem for each of them. */
  get problems(): readonly Problem[] {
    return this.blocked.map(([folder, { reason }]) => ({
      what: 'spool',
      reason: `${folder} cannot be relayed: ${reason}`,
      forMs: 0,
    }));
  }

  private get blocked(): readonly [string, Failure][] {
    return [...this.failures].filter(([, { reason }]) => reason !== null);
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
