import { onTestFinished, vi } from 'vitest';

/** Moves the system clock of this process forward by `ms`, or back by a negative one, until the test ends. Monotonic clocks and timers are not affected. */
export function stepSystemClock(ms: number): void {
  const real = Date.now;
  const spy = vi.spyOn(Date, 'now').mockImplementation(() => real() + ms);
  onTestFinished(() => void spy.mockRestore());
}
