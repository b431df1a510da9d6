import { MetricUnit, Metrics as Powertools } from '@aws-lambda-powertools/metrics';
import { type Metrics, metricList } from './metric-list.ts';

/** The namespace of the metrics in CloudWatch. */
const NAMESPACE = 'Tollway';
/** Maximum values of one metric in a line; https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html */
const VALUES_MAX = 100;

type Labels = Readonly<Record<string, string | number | undefined>>;
type Kind = 'counter' | 'gauge' | 'histogram';
type Series = { readonly name: string; readonly kind: Kind; readonly labels: Labels; values: number[] };

/** The value of one counter since the last flush. */
export type CounterValue = { readonly name: string; readonly labels: Labels; readonly value: number };

/** The metrics of a function. Prometheus cannot scrape functions, so the metrics are log lines that CloudWatch reads. */
export type EmbeddedMetrics = Metrics & {
  /** Writes all values since the last flush to the log. Returns those of the counters. */
  readonly flush: () => CounterValue[];
};

/** Creates the metrics of the function `service`, with the same names as in Prometheus and the labels as dimensions. */
export function createEmbeddedMetrics(service: string): EmbeddedMetrics {
  const allSeries = new Map<string, Series>();
  const seriesOf = (name: string, kind: Kind, labels: Labels = {}): Series => {
    const key = `${name} ${JSON.stringify(labels)}`;
    const series = allSeries.get(key) ?? { name, kind, labels, values: [] };
    allSeries.set(key, series);
    return series;
  };
  const writer = (name: string, kind: Kind) => (first: Labels | number, second?: number) => {
    const labels = typeof first === 'number' ? {} : first;
    const series = seriesOf(name, kind, labels);
    const value = typeof first === 'number' ? first : (second ?? 1);
    if (kind === 'histogram') series.values.push(value);
    else series.values = [kind === 'counter' ? (series.values[0] ?? 0) + value : value];
  };
  const metrics = Object.entries(metricList).map(([key, { name, kind }]) => {
    const write = writer(name, kind);
    return [
      key,
      { inc: (first: Labels | number = 1, by?: number) => write(first, by), set: write, observe: write },
    ];
  });
  const flush = () => {
    const series = [...allSeries.values()];
    allSeries.clear();
    writeLines(service, series);
    return series.flatMap(({ name, kind, labels, values: [value = 0] }) =>
      kind === 'counter' ? [{ name, labels, value }] : [],
    );
  };
  // Each object has the methods of all kinds. The type limits callers to those of its own kind.
  return { ...(Object.fromEntries(metrics) as unknown as Metrics), flush };
}

/** One line for each set of dimensions. */
function writeLines(service: string, series: readonly Series[]): void {
  // Node 20 of OpenWhisk has no Map.groupBy.
  const groups = new Map<string, Series[]>();
  for (const entry of series) {
    const key = JSON.stringify(entry.labels);
    groups.set(key, [...(groups.get(key) ?? []), entry]);
  }
  for (const group of groups.values()) {
    const writer = new Powertools({ namespace: NAMESPACE, serviceName: service });
    for (const [name, value] of Object.entries(group[0]?.labels ?? {})) {
      // CloudWatch accepts no empty dimension, such as the reason of a charged click.
      if (value !== undefined && value !== '') writer.addDimension(name, String(value));
    }
    for (const { name, values } of group) {
      for (const value of quantiles(values)) writer.addMetric(name, unitOf(name), value);
    }
    if (writer.hasStoredMetrics()) writer.publishStoredMetrics();
  }
}

/** At most `VALUES_MAX` values: of more values, evenly spaced quantiles with the minimum and the maximum. */
function quantiles(values: readonly number[]): readonly number[] {
  if (values.length <= VALUES_MAX) return values;
  const sorted = values.toSorted((a, b) => a - b);
  const step = (sorted.length - 1) / (VALUES_MAX - 1);
  return Array.from({ length: VALUES_MAX }, (_, index) => sorted[Math.round(index * step)] ?? 0);
}

function unitOf(name: string): (typeof MetricUnit)[keyof typeof MetricUnit] {
  if (name.endsWith('_seconds')) return MetricUnit.Seconds;
  if (name.endsWith('_bytes')) return MetricUnit.Bytes;
  return MetricUnit.Count;
}
