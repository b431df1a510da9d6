import { AggregatorRegistry, Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client';
import { type LabelsOf, type MetricPart, metricList } from './metric-list.ts';

export type { Metrics } from './metric-list.ts';

type List = typeof metricList;

/** The metrics of one process, for Prometheus. */
export type ProcessMetrics = { readonly registry: Registry } & {
  readonly [K in keyof List]: List[K] extends { readonly kind: 'counter' }
    ? Counter<LabelsOf<List[K]>>
    : List[K] extends { readonly kind: 'gauge' }
      ? Gauge<LabelsOf<List[K]>>
      : Histogram;
};

/**
 * Makes the metrics of one process, those of Node itself among them. Those of another part can be counted, and are not shown;
 * `all` shows everything there is.
 */
export function createMetrics(part: 'ad server' | 'processor' | 'all' = 'all'): ProcessMetrics {
  const registry = new Registry();
  const unseen = new Registry();
  collectDefaultMetrics({ register: registry });
  const isShown = (of: MetricPart) => part === 'all' || of === part || of === 'both';
  const made = Object.entries(metricList).map(([key, declaration]) => [
    key,
    create(declaration, isShown(declaration.part) ? registry : unseen, isShown),
  ]);
  // Each was made of the declaration of its own name.
  const metrics = { registry, ...Object.fromEntries(made) } as ProcessMetrics;
  return metrics;
}

function create(
  declaration: List[keyof List],
  registry: Registry,
  isShown: (of: MetricPart) => boolean,
): Counter | Gauge | Histogram {
  const { name, help } = declaration;
  const registers = [registry];
  const labelNames = 'labelNames' in declaration ? declaration.labelNames : [];
  switch (declaration.kind) {
    case 'counter': {
      const counter = new Counter<string>({ name, help, labelNames, registers });
      // A counter that is born with its first value hides that value from `increase`.
      const onlyOf: Readonly<Record<string, MetricPart>> = 'onlyOf' in declaration ? declaration.onlyOf : {};
      for (const values of 'combinations' in declaration ? declaration.combinations : []) {
        if (!values.every((value) => isShown(onlyOf[value] ?? 'both'))) continue;
        counter.inc(Object.fromEntries(labelNames.map((label, index) => [label, values[index] ?? ''])), 0);
      }
      return counter;
    }
    case 'gauge': {
      const aggregator = 'aggregator' in declaration ? declaration.aggregator : 'sum';
      const gauge = new Gauge({ name, help, labelNames, aggregator, registers });
      // prom-client begins a gauge without labels at 0: until it is set, that would be a claim.
      if (labelNames.length === 0) gauge.remove();
      return gauge;
    }
    case 'histogram':
      return new Histogram({ name, help, buckets: [...declaration.buckets], registers });
    default:
      return declaration satisfies never;
  }
}

export { AggregatorRegistry, type Registry };
