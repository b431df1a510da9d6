import { MetricUnit, Metrics as Powertools } from '@aws-lambda-powertools/metrics';
import { type Metrics, metricList } from './metric-list.ts';

/** Where the metrics stand in CloudWatch. */
const NAMESPACE = 'Tollway';
/** Most values of one metric in a line; https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html */
const VALUES_MAX = 100;

type Labels = Readonly<Record<string, string | number | undefined>>;
type Kind = 'counter' | 'gauge' | 'histogram';
type Series = { readonly name: string; readonly kind: Kind; readonly labels: Labels; values: number[] };

/** One number of what was counted since the last flush. */
export type Counted = { readonly name: string; readonly labels: Labels; readonly value: number };

/** The metrics of a function, which nobody can scrape: lines in its log that CloudWatch reads. */
export type EmbeddedMetrics = Metrics & {
  /** Writes what was counted since the last time, and answers the counters among it. */
  readonly flush: () => Counted[];
};

/** Makes the metrics of the function `service`, under the names that Prometheus knows, with the labels as dimensions. */
export function createEmbeddedMetrics(service: string): EmbeddedMetrics {
  const found = new Map<string, Series>();
  const seriesOf = (name: string, kind: Kind, labels: Labels = {}): Series => {
    const key = `${name} ${JSON.stringify(labels)}`;
    const known = found.get(key) ?? { name, kind, labels, values: [] };
    found.set(key, known);
    return known;
  };
  const write = (name: string, kind: Kind) => (first: Labels | number, second?: number) => {
    const labels = typeof first === 'number' ? {} : first;
    const series = seriesOf(name, kind, labels);
    const value = typeof first === 'number' ? first : (second ?? 1);
    if (kind === 'histogram') series.values.push(value);
    else series.values = [kind === 'counter' ? (series.values[0] ?? 0) + value : value];
  };
  const made = Object.entries(metricList).map(([key, { name, kind }]) => {
    const count = write(name, kind);
    return [
      key,
      { inc: (first: Labels | number = 1, by?: number) => count(first, by), set: count, observe: count },
    ];
  });
  const flush = () => {
    const series = [...found.values()];
    found.clear();
    writeLines(service, series);
    return series.flatMap(({ name, kind, labels, values: [value = 0] }) =>
      kind === 'counter' ? [{ name, labels, value }] : [],
    );
  };
  // Each answers all the calls that its kind has; the types hold callers to those.
  return { ...(Object.fromEntries(made) as unknown as Metrics), flush };
}

/** One line for each set of dimensions. */
function writeLines(service: string, series: readonly Series[]): void {
  // By hand: OpenWhisk's Node 20 has no Map.groupBy.
  const groups = new Map<string, Series[]>();
  for (const one of series) {
    const key = JSON.stringify(one.labels);
    groups.set(key, [...(groups.get(key) ?? []), one]);
  }
  for (const group of groups.values()) {
    const writer = new Powertools({ namespace: NAMESPACE, serviceName: service });
    for (const [name, value] of Object.entries(group[0]?.labels ?? {})) {
      // CloudWatch takes no empty dimension: a click that was charged has no reason.
      if (value !== undefined && value !== '') writer.addDimension(name, String(value));
    }
    for (const { name, values } of group) {
      for (const value of quantiles(values)) writer.addMetric(name, unitOf(name), value);
    }
    if (writer.hasStoredMetrics()) writer.publishStoredMetrics();
  }
}

/** At most so many values as a line may hold; of more, as many spread evenly over all, the least and the greatest among them. */
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
