/** Time that rates and quantiles look back, in ms. */
const WINDOW_MS = 10_000;

/** What prom-client returns of a histogram. Buckets are cumulative. */
export type HistogramValues = {
  readonly values: readonly {
    readonly metricName?: string;
    readonly labels: { readonly le?: string | number };
    readonly value: number;
  }[];
};

type Snapshot = { readonly at: number; readonly buckets: ReadonlyMap<number, number> };

/** What a histogram counted in the last 10 s, from its values at each call of `take`. */
export class RecentHistogram {
  private snapshots: Snapshot[] = [];
  private readonly now: () => number;

  /** `now` is a clock in ms that never steps back. */
  constructor(now: () => number = () => performance.now()) {
    this.now = now;
  }

  /** Notes the present values. Call it every 2 s or so. */
  take({ values }: HistogramValues): void {
    const at = this.now();
    const buckets = new Map(
      values.flatMap(({ labels: { le }, value }) => (le === undefined ? [] : [[bound(le), value] as const])),
    );
    // The first one is as old as the window, or the oldest there is.
    while ((this.snapshots[1]?.at ?? Number.POSITIVE_INFINITY) <= at - WINDOW_MS) this.snapshots.shift();
    this.snapshots.push({ at, buckets });
  }

  /** Observations per second; `null` before the second `take`, or after the counts began again. */
  perSecond(): number | null {
    const [first, last] = [this.snapshots[0], this.snapshots.at(-1)];
    const count = this.counted().at(-1)?.count;
    if (!first || !last || last.at === first.at || count === undefined) return null;
    return count / ((last.at - first.at) / 1_000);
  }

  /**
   * The value that the share `q` of the observations does not exceed, interpolated in its bucket, as `histogram_quantile` of Prometheus:
   * https://prometheus.io/docs/prometheus/latest/querying/functions/#histogram_quantile. `null` without an observation.
   */
  quantile(q: number): number | null {
    const buckets = this.counted();
    const total = buckets.at(-1)?.count ?? 0;
    if (total === 0) return null;
    const rank = q * total;
    const at = buckets.findIndex(({ count }) => count >= rank);
    const { le = 0, count = 0 } = buckets[at] ?? {};
    const { le: from, count: before } = buckets[at - 1] ?? { le: 0, count: 0 };
    if (le === Number.POSITIVE_INFINITY) return from;
    return count === before ? le : from + ((le - from) * (rank - before)) / (count - before);
  }

  /** The cumulative counts of the window by bound, ascending; empty if there are none, or if a count has decreased. */
  private counted(): { readonly le: number; readonly count: number }[] {
    const [first, last] = [this.snapshots[0], this.snapshots.at(-1)];
    if (!first || !last || first === last) return [];
    const counts = [...last.buckets].map(([le, count]) => ({
      le,
      count: count - (first.buckets.get(le) ?? 0),
    }));
    if (counts.some(({ count }) => count < 0)) return [];
    return counts.sort((a, b) => a.le - b.le);
  }
}

function bound(le: string | number): number {
  return le === '+Inf' ? Number.POSITIVE_INFINITY : Number(le);
}
