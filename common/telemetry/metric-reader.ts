import type { Registry } from './metrics.ts';
import type { HistogramValues } from './recent-histogram.ts';

/** Reads values of single metrics. It leaves out those of Node, which are expensive to collect. */
export type MetricReader = {
  /** The sum over the labels that `where` accepts; `null` if the metric has no value. */
  readonly sum: (name: string, where?: (labels: Labels) => boolean) => Promise<number | null>;
  /** The greatest value; `null` if the metric has none. */
  readonly max: (name: string) => Promise<number | null>;
  readonly histogram: (name: string) => Promise<HistogramValues>;
};
type Labels = Readonly<Record<string, string | number | undefined>>;

export function metricReader(registry: Registry): MetricReader {
  const valuesOf = async (name: string) => (await registry.getSingleMetric(name)?.get())?.values ?? [];
  return {
    sum: async (name, where = () => true) => {
      const values = (await valuesOf(name)).filter(({ labels }) => where(labels));
      return values.length === 0 ? null : values.reduce((sum, { value }) => sum + value, 0);
    },
    max: async (name) => {
      const values = (await valuesOf(name)).map(({ value }) => value);
      return values.length === 0 ? null : Math.max(...values);
    },
    histogram: async (name) => ({ values: await valuesOf(name) }),
  };
}
