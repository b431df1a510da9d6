import type { Logger } from './logger.ts';

/** Shortest time between two lines about the same failure, in ms. */
const INTERVAL_MS = 30_000;

/** The log lines of one kind of failure. Both have the same level, so a filter by level shows both or none. */
export type FailureLines = {
  /** The message while the work fails: what happened and what it means for clicks. */
  readonly failed: string;
  /** The message of the first success after a line about a failure. */
  readonly recovered: string;
  /** The level of both lines; `warn` by default. */
  readonly level?: 'warn' | 'error';
  /** Failures that last no longer than this, in ms, are not logged; 0 by default. */
  readonly graceMs?: number;
};

/**
 * Logs work that is retried: the first failure, then at most one line every 30 seconds with the number of failures
 * since the line before, then the recovery. A success does not reset the 30 seconds, so work that fails and succeeds
 * in turn logs two lines every 30 seconds at most. Measures time with `performance.now()`, because the system clock can be set.
 */
export class ThrottledLog {
  private readonly logger: Logger;
  private readonly lines: FailureLines;
  private readonly now: () => number;
  private failingSince: number | null = null;
  private loggedAt = Number.NEGATIVE_INFINITY;
  /** Whether the latest line was about a failure: only then is the recovery logged. */
  private isFailureLogged = false;
  private failures = 0;

  /** `now` is a clock in ms that never steps back. */
  constructor(logger: Logger, lines: FailureLines, now: () => number = () => performance.now()) {
    this.logger = logger;
    this.lines = lines;
    this.now = now;
  }

  /** Whether the latest attempt failed. */
  get isFailing(): boolean {
    return this.failingSince !== null;
  }

  /** Records a failed attempt. `message` replaces the usual message. */
  fail(fields: Readonly<Record<string, unknown>>, message = this.lines.failed): void {
    const { level = 'warn', graceMs = 0 } = this.lines;
    const now = this.now();
    this.failingSince ??= now;
    this.failures += 1;
    if (now - this.failingSince < graceMs || now - this.loggedAt < INTERVAL_MS) return;
    this.logger[level]({ ...fields, failures: this.failures }, message);
    this.loggedAt = now;
    this.isFailureLogged = true;
    this.failures = 0;
  }

  /** Records a successful attempt. Cheap while nothing fails. */
  recover(fields: Readonly<Record<string, unknown>> = {}): void {
    if (this.failingSince === null) return;
    const { level = 'warn', recovered } = this.lines;
    const failedSeconds = Math.round((this.now() - this.failingSince) / 1_000);
    this.failingSince = null;
    if (!this.isFailureLogged) return;
    this.isFailureLogged = false;
    this.logger[level]({ ...fields, failedSeconds }, recovered);
  }
}
