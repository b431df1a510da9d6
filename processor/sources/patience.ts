import type { TollwayError } from '../../common/errors.ts';
import { backoffMs, sleep } from '../../common/lifecycle.ts';
import type { Logger } from '../../common/logger.ts';
import type { Metrics } from '../../common/metrics.ts';
import { ThrottledLog } from '../../common/throttled-log.ts';

/**
 * What stands in the way of a source, and how long it has: it is waited for, told to the log now and then, and shown in
 * the metrics and in the readiness. Several things may stand in the way, each under its name.
 */
export class Patience {
  private readonly failures = new Map<string, string>();
  /** What is no failure, and keeps us from reading all the same. */
  private readonly notes = new Map<string, string>();
  private readonly metrics: Metrics;
  private readonly log: ThrottledLog;
  private readonly explain: (error: unknown) => TollwayError;
  private readonly stopping: AbortSignal;

  /** A failure that lasts no longer than `graceMs` is not logged. */
  constructor(
    explain: (error: unknown) => TollwayError,
    around: { metrics: Metrics; logger: Logger; stopping: AbortSignal; graceMs: number },
  ) {
    this.explain = explain;
    this.metrics = around.metrics;
    this.log = new ThrottledLog(around.logger, {
      failed: 'The broker gives no clicks; they wait in it and are charged once it answers',
      recovered: 'The broker gives clicks again',
      graceMs: around.graceMs,
    });
    this.stopping = around.stopping;
  }

  /** The first thing that stands in the way, in words, or `null`. */
  get problem(): string | null {
    const [first = null] = [...this.failures.values(), ...this.notes.values()];
    return first;
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
        this.complain(name, explained);
        await sleep(backoffMs(attempt), this.stopping);
      }
    }
  }

  /** Takes note of what is no failure, until it is settled. */
  note(name: string, problem: string): void {
    this.notes.set(name, problem);
  }

  complain(name: string, { message: problem }: TollwayError): void {
    this.metrics.brokerUp.set(0);
    this.failures.set(name, problem);
    this.log.fail({ problem });
  }

  /** Something is well again; perhaps all is. */
  settle(name: string): void {
    this.notes.delete(name);
    this.failures.delete(name);
    if (this.failures.size > 0) return;
    this.metrics.brokerUp.set(1);
    this.log.recover();
  }
}
