import { setTimeout as sleep } from 'node:timers/promises';
import { inspect } from 'node:util';

/** Longest wait for a condition, in ms: far above what it takes, so that only a condition that never comes fails. */
const PATIENCE_MS = 8_000;

/** Waits until `look` finds something (not `false`, `null` or `undefined`), and returns it. */
export async function until<T>(
  what: string,
  look: () => T | Promise<T>,
): Promise<Exclude<T, false | null | undefined>> {
  const deadline = Date.now() + PATIENCE_MS;
  for (;;) {
    const found = await look();
    if (found !== false && found !== null && found !== undefined) {
      return found as Exclude<T, false | null | undefined>;
    }
    if (Date.now() > deadline) throw new Error(`Waited in vain for: ${what} (last: ${inspect(found)})`);
    await sleep(5);
  }
}
