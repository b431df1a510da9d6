import { adServerMetrics } from './declarations/ad-server.ts';
import { budgetMetrics } from './declarations/budgets.ts';
import { consoleMetrics } from './declarations/console.ts';
import type { Declarations } from './declarations/declaration.ts';
import { processMetrics } from './declarations/process.ts';
import { processorMetrics } from './declarations/processor.ts';

export type { MetricComponent } from './declarations/declaration.ts';

/**
 * All metrics. No label has a value that a client sends: outcomes, reasons and answers are closed lists, advertisers are rows of a table. A
 * test compares docs/metrics.md with this list.
 */
export const metricList = {
  ...processMetrics,
  ...adServerMetrics,
  ...processorMetrics,
  ...budgetMetrics,
  ...consoleMetrics,
} as const satisfies Declarations;

type List = typeof metricList;
/** The labels that a declaration names. */
export type LabelsOf<D> = D extends { readonly labelNames: readonly (infer L extends string)[] } ? L : never;
type Labels<L extends string> = Readonly<Partial<Record<L, string | number>>>;

export type Counter<L extends string> = {
  inc(labels: Labels<L>, count?: number): void;
  inc(count?: number): void;
};
export type Gauge<L extends string> = {
  set(labels: Labels<L>, value: number): void;
  set(value: number): void;
};
export type Histogram = { observe(value: number): void };

/** The metrics, independent of their implementation: Prometheus' client in a process, log lines in a function. */
export type Metrics = {
  readonly [K in keyof List]: List[K] extends { readonly kind: 'counter' }
    ? Counter<LabelsOf<List[K]>>
    : List[K] extends { readonly kind: 'gauge' }
      ? Gauge<LabelsOf<List[K]>>
      : Histogram;
};
