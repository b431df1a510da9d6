/** The component that a metric belongs to. */
export type MetricComponent = 'ad server' | 'processor' | 'console' | 'all';

/** How the values of several processes, or of several workers of one, make one value. */
export type Aggregator = 'sum' | 'max' | 'min';

/** The declaration of a metric. The name ends with the unit. */
export type Declaration = {
  readonly name: string;
  readonly help: string;
  readonly component: MetricComponent;
} & (
  | {
      readonly kind: 'counter';
      readonly labelNames?: readonly string[];
      /** All combinations of label values, if they are a closed list: each starts at 0. */
      readonly combinations?: readonly (readonly string[])[];
      /** Label values that only one component has. */
      readonly onlyOf?: Readonly<Record<string, MetricComponent>>;
      /** Default `sum`. `max` if every process exports the same number, from the database. */
      readonly aggregator?: Aggregator;
    }
  | {
      readonly kind: 'gauge';
      readonly labelNames?: readonly string[];
      /** Default `sum`. `max` or `min` if every process exports the same number. */
      readonly aggregator?: Aggregator;
    }
  | { readonly kind: 'histogram'; readonly buckets: readonly number[] }
);

export type Declarations = Readonly<Record<string, Declaration>>;
