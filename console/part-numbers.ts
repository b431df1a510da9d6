import { metricList } from '../common/telemetry/metric-list.ts';
import { metricReader } from '../common/telemetry/metric-reader.ts';
import type { ProcessMetrics } from '../common/telemetry/metrics.ts';
import { RecentHistogram } from '../common/telemetry/recent-histogram.ts';
import type { ConsoleNumbers } from '../ledger/operations/part-numbers.ts';

/** Creates a function that reads the numbers of a console from its metrics. It sends no request. */
export function consoleNumbers({ registry }: ProcessMetrics): () => Promise<ConsoleNumbers> {
  const requests = new RecentHistogram();
  const { sum, max, histogram } = metricReader(registry);
  return async () => {
    requests.take(await histogram(metricList.consoleRequestDuration.name));
    return {
      requestsPerSecond: requests.perSecond(),
      requestP99Seconds: requests.quantile(0.99),
      webhooksWaiting: await sum(metricList.webhookBacklog.name),
      webhooksOldestSeconds: await max(metricList.webhookOldestAge.name),
    };
  };
}
