import { performance } from 'node:perf_hooks';
import { AggregatorRegistry, Counter, collectDefaultMetrics, Gauge, Registry } from 'prom-client';
import { readVersion } from '../version.ts';
import { BucketHistogram } from './bucket-histogram.ts';
import { type LabelsOf, type MetricComponent, metricList } from './metric-list.ts';

export type { Metrics } from './metric-list.ts';

type List = typeof metricList;

/** The metrics of one process, for Prometheus. */
export type ProcessMetrics = { readonly registry: Registry } & {
  readonly [K in keyof List]: List[K] extends { readonly kind: 'counter' }
    ? Counter<LabelsOf<List[K]>>
    : List[K] extends { readonly kind: 'gauge' }
      ? Gauge<LabelsOf<List[K]>>
      : BucketHistogram;
};

/**
 * Creates the metrics of one process, with Node's own. The registry exposes the metrics of `component` only; metrics of other components can be
 * updated but are not exposed. `all` exposes every metric.
 */
export function createMetrics(
  component: 'ad server' | 'processor' | 'console' | 'all' = 'all',
): ProcessMetrics {
  const registry = new Registry();
  const hidden = new Registry();
  collectNodeMetrics(registry);
  const isExposed = (of: MetricComponent) => component === 'all' || of === component || of === 'all';
  const created = Object.entries(metricList).map(([key, declaration]) => [
    key,
    create(declaration, isExposed(declaration.component) ? registry : hidden, isExposed),
  ]);
  // Each metric was created from the declaration of its key.
  const metrics = { registry, ...Object.fromEntries(created) } as ProcessMetrics;
  measureEventLoop(metrics.eventLoopUtilization);
  if (component !== 'all') {
    const labels = { component: component.replace(' ', '-'), version: readVersion(), node: process.version };
    metrics.buildInfo.set(labels, 1);
  }
  return metrics;
}

/** Metrics of prom-client about the delay of the event loop. */
const DELAY_METRICS = ['', '_min', '_max', '_mean', '_stddev', '_p50', '_p90', '_p99'].map(
  (statistic) => `nodejs_eventloop_lag${statistic}_seconds`,
);
/** Longest period of a timer, in ms. */
const NEVER_MS = 2 ** 31 - 1;

/**
 * Collects the metrics that prom-client has of every process, but those of the delay of the event loop: a timer measures it every 10 ms, which
 * takes each process 3 ms of CPU time a second. prom-client cannot leave it out, so it gets a period that does not end.
 */
function collectNodeMetrics(registry: Registry): void {
  collectDefaultMetrics({ register: registry, eventLoopMonitoringPrecision: NEVER_MS });
  for (const name of DELAY_METRICS) registry.removeSingleMetric(name);
}

/** Sets the gauge to the utilization of the event loop since the last scrape. libuv counts its idle time, so this costs nothing between two. */
function measureEventLoop(gauge: Gauge): void {
  let last = performance.eventLoopUtilization();
  const collected = gauge as Gauge & { collect?: () => void };
  collected.collect = () => {
    const now = performance.eventLoopUtilization();
    gauge.set(performance.eventLoopUtilization(now, last).utilization);
    last = now;
  };
}

function create(
  declaration: List[keyof List],
  registry: Registry,
  isExposed: (of: MetricComponent) => boolean,
): Counter | Gauge | BucketHistogram {
  const { name, help } = declaration;
  const registers = [registry];
  const labelNames = 'labelNames' in declaration ? declaration.labelNames : [];
  switch (declaration.kind) {
    case 'counter': {
      const counter = new Counter<string>({ name, help, labelNames, registers });
      // Starts at 0: `increase` ignores the first value of a counter that appears with it.
      const onlyOf: Readonly<Record<string, MetricComponent>> =
        'onlyOf' in declaration ? declaration.onlyOf : {};
      for (const values of 'combinations' in declaration ? declaration.combinations : []) {
        if (!values.every((value) => isExposed(onlyOf[value] ?? 'all'))) continue;
        counter.inc(Object.fromEntries(labelNames.map((label, index) => [label, values[index] ?? ''])), 0);
      }
      const [label, ...others] = labelNames;
      if (label !== undefined && others.length === 0 && 'combinations' in declaration)
        countInTable(counter, label);
      return counter;
    }
    case 'gauge': {
      const aggregator = 'aggregator' in declaration ? declaration.aggregator : 'sum';
      const gauge = new Gauge({ name, help, labelNames, aggregator, registers });
      // prom-client starts a gauge without labels at 0, which would be wrong until the first measurement.
      if (labelNames.length === 0) gauge.remove();
      return gauge;
    }
    case 'histogram':
      return new BucketHistogram(name, help, declaration.buckets, registry);
    default:
      return declaration satisfies never;
  }
}

/**
 * Lets a counter with one label count in a table, from which prom-client takes the counts when it is read. prom-client itself looks up the
 * labels of every increment, which takes 0.2 µs, and every redirect increments two counters.
 */
function countInTable(counter: Counter<string>, label: string): void {
  const counts = new Map<string, number>();
  const add = counter.inc.bind(counter);
  // Metrics of Tollway with labels are always incremented with them.
  counter.inc = ((labels: Readonly<Record<string, string>>, count: number = 1) => {
    const value = labels[label] ?? '';
    counts.set(value, (counts.get(value) ?? 0) + count);
  }) as typeof counter.inc;
  const collected = counter as Counter<string> & { collect?: () => void };
  collected.collect = () => {
    for (const [value, count] of counts) add({ [label]: value }, count);
    counts.clear();
  };
}

export { AggregatorRegistry, type Registry };
