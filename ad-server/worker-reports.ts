import { counted } from '../common/counted.ts';
import { AggregatorRegistry, type Registry } from '../common/telemetry/metrics.ts';
import type { Problem } from '../common/telemetry/problems.ts';

/** Time between two reports of a worker to the primary, in ms. After five times that without a report, it does not count as ready. */
export const REPORT_MS = 1_000;

/** The metrics of a worker, in the form that prom-client aggregates. */
type WorkerMetrics = Awaited<ReturnType<Registry['getMetricsAsJSON']>>;
/** What a worker sends to the primary every `REPORT_MS`. */
export type WorkerReport = {
  readonly problems: readonly Problem[];
  readonly warnings: readonly Problem[];
  readonly metrics: WorkerMetrics;
};
type ReceivedReport = WorkerReport & { readonly at: number };

/** The latest reports of the workers, from which the primary serves its operations port. */
export class WorkerReports {
  /** Whether any worker has reported since the primary started. */
  hasReceived = false;
  private readonly workerCount: number;
  private readonly latest = new Map<number, ReceivedReport>();

  constructor(workerCount: number) {
    this.workerCount = workerCount;
  }

  receive(workerId: number, report: WorkerReport): void {
    this.hasReceived = true;
    this.latest.set(workerId, { ...report, at: performance.now() });
  }

  /** Forgets a worker that has exited. */
  remove(workerId: number): void {
    this.latest.delete(workerId);
  }

  /** The problems of all workers, and a problem if a worker is missing or silent. */
  readonly problems = (): readonly Problem[] => {
    const silent = [...this.latest.values()].filter(isSilent).length;
    const missing = this.workerCount - this.latest.size + silent;
    if (missing === 0) return this.listed('problems');
    const reason = `${counted(missing, `of ${this.workerCount} does`, `of ${this.workerCount} do`)} not answer`;
    return [{ what: 'workers', reason, forMs: 0 }, ...this.listed('problems')];
  };

  readonly warnings = (): readonly Problem[] => this.listed('warnings');

  readonly metrics = (): Promise<string> => this.registry().metrics();

  /** Aggregates the latest reports, because a worker that hangs would delay a scrape. Counters of a silent worker stay valid, gauges do not. */
  readonly registry = (): Registry => {
    const perWorker = [...this.latest.values()].map((report) =>
      isSilent(report) ? report.metrics.filter(({ type }) => String(type) !== 'gauge') : report.metrics,
    );
    return AggregatorRegistry.aggregate(perWorker);
  };

  private listed(kind: 'problems' | 'warnings'): Problem[] {
    return [...this.latest].flatMap(([id, report]) =>
      report[kind].map((problem) => ({ ...problem, what: `worker ${id}: ${problem.what}` })),
    );
  }
}

function isSilent({ at }: ReceivedReport): boolean {
  return performance.now() - at > 5 * REPORT_MS;
}
