/** How much a counter has grown within a time, from its values at each call of `take`. */
export class RecentIncrease {
  private readonly windowMs: number;
  private readonly now: () => number;
  private readonly increases: { readonly at: number; readonly by: number }[] = [];
  /** A counter begins at 0. */
  private last = 0;

  /** `now` is a clock in ms that never steps back. */
  constructor(windowMs: number, now: () => number = () => performance.now()) {
    this.windowMs = windowMs;
    this.now = now;
  }

  /** Notes the present value, and returns the increase within the time. A lower value than before means that the counter began again. */
  take(value: number): number {
    const at = this.now();
    const by = value >= this.last ? value - this.last : value;
    this.last = value;
    if (by > 0) this.increases.push({ at, by });
    while ((this.increases[0]?.at ?? at) <= at - this.windowMs) this.increases.shift();
    return this.increases.reduce((sum, increase) => sum + increase.by, 0);
  }
}
