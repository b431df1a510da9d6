import type { TollwayError } from '../common/errors.ts';
import { backoffMs, sleep } from '../common/process.ts';
import type { Logger } from '../common/telemetry/logger.ts';
import { OpenProblems, type Problem } from '../common/telemetry/problems.ts';
import { ThrottledLog } from '../common/telemetry/throttled-log.ts';

/** Tracks why a source is blocked, each reason under a name: retries, throttled logging, metrics, readiness. */
export class SourceHealth {
  private readonly failures = new OpenProblems();
  /** Reasons for not reading that are no failures. */
  private readonly waits = new OpenProblems();
  private readonly log: ThrottledLog;
  /** When the last failure was reported (`performance.now()`); -Infinity before the first. */
  lastFailureAt = -Infinity;
  private readonly explain: (error: unknown) => TollwayError;
  private readonly stopping: AbortSignal;

  /** `explain` adds a code and `retryable` to an error. A failure that lasts no longer than `graceMs` is not logged. */
  constructor(
    explain: (error: unknown) => TollwayError,
    deps: { logger: Logger; stopping: AbortSignal; graceMs: number },
  ) {
    this.explain = explain;
    this.log = new ThrottledLog(deps.logger, {
      failed: 'The processor cannot read from the broker. Clicks wait there and are charged later',
      recovered: 'The processor reads from the broker again',
      graceMs: deps.graceMs,
    });
    this.stopping = deps.stopping;
  }

  /** Failures and waits. */
  get problems(): readonly Problem[] {
    return [...this.failures.list(), ...this.waits.list()];
  }

  /** Whether the broker fails. A wait is no failure. */
  get isFailing(): boolean {
    return this.failures.size > 0;
  }

  /** Retries `work` without limit until it succeeds. Throws an error that is not retryable. Resolves early if the source stops. */
  async retry(name: string, work: () => Promise<void>): Promise<void> {
    for (let attempt = 1; !this.stopping.aborted; attempt += 1) {
      try {
        await work();
        return this.clear(name);
      } catch (error) {
        const explained = this.explain(error);
        if (!explained.retryable) throw explained;
        this.reportFailure(name, explained);
        await sleep(backoffMs(attempt), this.stopping);
      }
    }
  }

  /** Reports a wait, until it is cleared. */
  setWaiting(name: string, problem: string): void {
    this.waits.report(name, problem);
  }

  reportFailure(name: string, { message: problem }: TollwayError): void {
    this.lastFailureAt = performance.now();
    this.failures.report(name, problem);
    this.log.fail({ problem });
  }

  /** Clears what is reported under `name`. Logs the recovery if no failure is left. */
  clear(name: string): void {
    this.waits.clear(name);
    this.failures.clear(name);
    if (this.failures.size > 0) return;
    this.log.recover();
  }
}
