/** Length of the window that a rate is computed over, in ms. */
export const RATE_WINDOW_MS = 600_000;
/** Shortest span of samples that gives a rate, in ms. */
export const RATE_SPAN_MS_MIN = 30_000;
/** Shortest time between two samples that are kept, in ms, so that an advertiser has at most 61 of them. */
const STEP_MS = 10_000;

/** What one advertiser has spent: kept samples, oldest first, and the latest one, which need not be kept. Spent amounts in micros. */
type History = {
  readonly keptAtMs: number[];
  readonly keptMicros: number[];
  latestAtMs: number;
  latestMicros: number;
};

/** What an advertiser has spent so far, in micros of its currency. */
export type Spent = { readonly id: number; readonly spentMicros: bigint };

/**
 * The rates at which the budgets of advertisers are spent, by id, from samples of the last 10 minutes. Times are in ms of a monotonic clock,
 * such as `performance.now()`, so that a system clock that steps changes no rate.
 */
export class BurnRates {
  readonly #histories = new Map<number, History>();
  #prunedAtMs = Number.NEGATIVE_INFINITY;

  /** Adds what advertisers have spent by `atMs`, as often as the caller likes. Those without a sample for 10 minutes are forgotten. */
  sample(atMs: number, spent: Iterable<Spent>): void {
    for (const { id, spentMicros } of spent) this.#add(id, atMs, Number(spentMicros));
    if (atMs - this.#prunedAtMs < STEP_MS) return;
    this.#prunedAtMs = atMs;
    for (const [id, { latestAtMs }] of this.#histories)
      if (latestAtMs < atMs - RATE_WINDOW_MS) this.#histories.delete(id);
  }

  /** Micros per second over the window, 0 or more; `null` if the samples span less than 30 s. */
  microsPerSecond(id: number): number | null {
    const history = this.#histories.get(id);
    if (history === undefined) return null;
    const spanMs = history.latestAtMs - (history.keptAtMs[0] ?? history.latestAtMs);
    if (spanMs < RATE_SPAN_MS_MIN) return null;
    return ((history.latestMicros - (history.keptMicros[0] ?? 0)) / spanMs) * 1_000;
  }

  #add(id: number, atMs: number, micros: number): void {
    const known = this.#histories.get(id);
    // An amount that falls means that the database was restored to an earlier time: the samples before say nothing.
    if (known === undefined || micros < known.latestMicros) {
      const history = { keptAtMs: [atMs], keptMicros: [micros], latestAtMs: atMs, latestMicros: micros };
      this.#histories.set(id, history);
      return;
    }
    known.latestAtMs = atMs;
    known.latestMicros = micros;
    if (atMs - (known.keptAtMs.at(-1) ?? 0) < STEP_MS) return;
    known.keptAtMs.push(atMs);
    known.keptMicros.push(micros);
    while ((known.keptAtMs[0] ?? atMs) < atMs - RATE_WINDOW_MS) {
      known.keptAtMs.shift();
      known.keptMicros.shift();
    }
  }
}

/** Seconds until a budget is spent at a rate in micros per second: 0 if nothing remains, `null` without a rate or at the rate 0. */
export function secondsToExhaustion(remainingMicros: bigint, microsPerSecond: number | null): number | null {
  if (remainingMicros <= 0n) return 0;
  return microsPerSecond ? Number(remainingMicros) / microsPerSecond : null;
}
