import type { TollwayError } from '../common/errors.ts';
import { backoffMs, sleep } from '../common/process.ts';
import type { Logger } from '../common/telemetry/logger.ts';
import { OpenProblems, type Problem } from '../common/telemetry/problems.ts';
import { ThrottledLog } from '../common/telemetry/throttled-log.ts';

/**
 * What stands in the way of a source, and how long it has: it is waited for, told to the log now and then, and shown in
 * the metrics and in the readiness. Several things may stand in the way, each under its name.
 */
export class SourceHealth {
  private readonly failures = new OpenProblems();
  /** What is no failure, and keeps us from reading all the same. */
  private readonly notes = new OpenProblems();
  private readonly log: ThrottledLog;
  private readonly explain: (error: unknown) => TollwayError;
  private readonly stopping: AbortSignal;

  /** A failure that lasts no longer than `graceMs` is not logged. */
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

  /** All that stands in the way. */
  get problems(): readonly Problem[] {
    return [...this.failures.list(), ...this.notes.list()];
  }

  /** Whether the broker fails. What is only noted is no failure. */
  get isFailing(): boolean {
    return this.failures.size > 0;
  }

  /** Does something that needs others, for as long as it takes. Throws what cannot pass. Resolves early if we are stopping. */
  async untilAnswered(name: string, work: () => Promise<void>): Promise<void> {
    for (let attempt = 1; !this.stopping.aborted; attempt += 1) {
      try {
        await work();
        return this.settle(name);
      } catch (error) {
        const explained = this.explain(error);
        if (!explained.retryable) throw explained;
        this.reportFailure(name, explained);
        await sleep(backoffMs(attempt), this.stopping);
      }
    }
  }

  /** Takes note of what is no failure, until it is settled. */
  setWaiting(name: string, problem: string): void {
    this.notes.report(name, problem);
  }

  reportFailure(name: string, { message: problem }: TollwayError): void {
    this.failures.report(name, problem);
    this.log.fail({ problem });
  }

  /** Something is well again; perhaps all is. */
  settle(name: string): void {
    this.notes.clear(name);
    this.failures.clear(name);
    if (this.failures.size > 0) return;
    this.log.recover();
  }
}
