/** A moment on both clocks of the process. */
export type Moment = { readonly steadyMs: number; readonly systemMs: number };

/** The present moment. */
export function moment(): Moment {
  return { steadyMs: performance.now(), systemMs: Date.now() };
}

/**
 * Time since `from`, in ms, for a function that its platform may freeze: the larger of what the two clocks say. The steady
 * clock may stand still while a machine is frozen, and the system clock may be set back. Everything else measures with
 * `performance.now()` alone.
 */
export function elapsedMs(from: Moment): number {
  return Math.max(performance.now() - from.steadyMs, Date.now() - from.systemMs);
}
