import { metricList } from '../common/telemetry/metric-list.ts';
import { metricReader } from '../common/telemetry/metric-reader.ts';
import type { ProcessMetrics } from '../common/telemetry/metrics.ts';
import { RecentHistogram } from '../common/telemetry/recent-histogram.ts';
import type { ProcessorNumbers, ReportedPartition } from '../ledger/operations/part-numbers.ts';
import type { CurrentLag, GaugeCollector } from './collect-gauges.ts';
import type { Runtime } from './runtime.ts';

/** Most partitions in one report, so that a topic of thousands does not make each report large: those with the oldest clicks. */
const PARTITIONS_MAX = 256;

/** Creates a function that reads the numbers of a processor. It sends no request. */
export function processorNumbers(
  { config, metrics, dispatcher }: Runtime<ProcessMetrics>,
  gauges: GaugeCollector,
): () => Promise<ProcessorNumbers> {
  const settled = new RecentHistogram();
  const { sum, histogram } = metricReader(metrics.registry);
  const outcome = (name: string) => sum(metricList.clicks.name, (labels) => labels.outcome === name);
  return async () => {
    settled.take(await histogram(metricList.clickToCharge.name));
    const lags = gauges.lags();
    return {
      lanes: config.PARALLELIZATION,
      charged: await outcome('charged'),
      overBudget: await outcome('over_budget'),
      invalid: await outcome('invalid'),
      rejected: await outcome('rejected'),
      duplicates: await sum(metricList.duplicates.name),
      settledPerSecond: settled.perSecond(),
      clickToChargeP50Seconds: settled.quantile(0.5),
      clickToChargeP99Seconds: settled.quantile(0.99),
      clicksAside: dispatcher.clicksAside,
      lagRecords: sumOf(lags),
      lagOldestSeconds: oldestOf(lags),
      isBlocked: gauges.isBlocked(),
      partitions: reportedPartitions(lags),
    };
  };
}

/** `null` if the count of a broker is not known, because a sum without it would be too low. */
function sumOf(lags: readonly CurrentLag[]): number | null {
  if (lags.length === 0) return null;
  return lags.reduce<number | null>(
    (sum, { records }) => (sum === null || records === null ? null : sum + records),
    0,
  );
}

function oldestOf(lags: readonly CurrentLag[]): number | null {
  const ages = lags.flatMap(({ oldestAgeSeconds }) => oldestAgeSeconds ?? []);
  return ages.length === 0 ? null : Math.max(...ages);
}

function reportedPartitions(lags: readonly CurrentLag[]): ReportedPartition[] {
  return lags
    .flatMap(({ broker, partitions }) => partitions.map((partition) => ({ broker, ...partition })))
    .sort((a, b) => b.oldestAgeSeconds - a.oldestAgeSeconds || b.records - a.records)
    .slice(0, PARTITIONS_MAX);
}
