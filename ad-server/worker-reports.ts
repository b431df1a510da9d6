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
  /** The sums of what exited workers have counted. Without them counters would fall, which Prometheus takes for new counts. */
  private exited: WorkerMetrics = [];

  constructor(workerCount: number) {
    this.workerCount = workerCount;
  }

  receive(workerId: number, report: WorkerReport): void {
    this.hasReceived = true;
    this.latest.set(workerId, { ...report, at: performance.now() });
  }

  /** Forgets a worker that has exited, except what it has counted. Pass no report of it to `receive` afterwards: that would count twice. */
  remove(workerId: number): void {
    const report = this.latest.get(workerId);
    if (report === undefined) return;
    this.latest.delete(workerId);
    const sums = AggregatorRegistry.aggregate([this.exited, report.metrics.filter(isKept)]);
    // The metrics of an aggregated registry have their values, which the type does not say.
    this.exited = sums.getMetricsAsArray() as unknown as WorkerMetrics;
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
      isSilent(report) ? report.metrics.filter(isNoGauge) : report.metrics,
    );
    return AggregatorRegistry.aggregate([...perWorker, this.exited]);
  };

  private listed(kind: 'problems' | 'warnings'): Problem[] {
    return [...this.latest].flatMap(([id, report]) =>
      report[kind].map((problem) => ({ ...problem, what: `worker ${id}: ${problem.what}` })),
    );
  }
}

function isNoGauge({ type }: WorkerMetrics[number]): boolean {
  return String(type) !== 'gauge';
}

/** Whether a metric outlives its worker. The CPU time of a process does not: the alert TollwayPartRestarts counts how often it falls. */
function isKept(metric: WorkerMetrics[number]): boolean {
  return isNoGauge(metric) && !metric.name.startsWith('process_');
}

function isSilent({ at }: ReceivedReport): boolean {
  return performance.now() - at > 5 * REPORT_MS;
}
