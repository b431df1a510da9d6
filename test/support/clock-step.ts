import { onTestFinished, vi } from 'vitest';

/** Sets the system clock of this process forth, or back by a negative `ms`, until the test ends. Steady clocks and timers go on. */
export function stepSystemClock(ms: number): void {
  const real = Date.now;
  const spy = vi.spyOn(Date, 'now').mockImplementation(() => real() + ms);
  onTestFinished(() => void spy.mockRestore());
}
