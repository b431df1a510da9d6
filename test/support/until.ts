import { setTimeout as sleep } from 'node:timers/promises';
import { inspect } from 'node:util';

/** Default timeout, in ms: far longer than any condition takes. */
const WAIT_MS_MAX = 20_000;
/** Time between two polls, in ms. It doubles up to the longer one, because a poll can query a server. */
const INTERVAL_MS_MIN = 5;
const INTERVAL_MS_MAX = 50;

/**
 * Polls until `look` returns something other than `false`, `null` or `undefined`, and returns that. Throws after `timeoutMs` with the last
 * result of `look`; `what` names the condition.
 */
export async function until<T>(
  what: string,
  look: () => T | Promise<T>,
  timeoutMs = WAIT_MS_MAX,
): Promise<Exclude<T, false | null | undefined>> {
  const deadline = performance.now() + timeoutMs;
  for (let intervalMs = INTERVAL_MS_MIN; ; intervalMs = Math.min(2 * intervalMs, INTERVAL_MS_MAX)) {
    const found = await look();
    if (found !== false && found !== null && found !== undefined) {
      return found as Exclude<T, false | null | undefined>;
    }
    if (performance.now() > deadline) {
      throw new Error(`Expected ${what} within ${timeoutMs} ms, last got ${inspect(found)}`);
    }
    await sleep(intervalMs);
  }
}
