/** A point in time on both clocks of the process: `performance.now()` and `Date.now()`, in ms. */
export type Moment = { readonly steadyMs: number; readonly systemMs: number };

/** The current time on both clocks. */
export function moment(): Moment {
  return { steadyMs: performance.now(), systemMs: Date.now() };
}

/**
 * Time since `from`, in ms, for functions that their platform can freeze. Returns the larger difference of the two clocks: the monotonic
 * clock can stop while the machine is frozen, and the system clock can be set back. All other code uses `performance.now()` alone.
 */
export function elapsedMs(from: Moment): number {
  return Math.max(performance.now() - from.steadyMs, Date.now() - from.systemMs);
}
