import { sleep } from '../../common/process.ts';

/** Time between two looks, in ms. */
const POLL_MS = 250;

/** Waits until a condition holds. Throws after `msMax`; `what` names the condition. A look that throws counts as false. */
export async function untilTrue(what: string, look: () => Promise<boolean>, msMax: number): Promise<void> {
  const deadline = performance.now() + msMax;
  while (!(await look().catch(() => false))) {
    if (performance.now() > deadline) throw new Error(`Expected ${what} within ${msMax / 1_000} s`);
    await sleep(POLL_MS);
  }
}
