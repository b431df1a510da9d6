import { errorMessage } from '../../common/errors.ts';
import type { Pool } from '../../common/postgres/postgres.ts';
import type { Logger } from '../../common/telemetry/logger.ts';
import { recordKeyUse } from '../../ledger/api-keys.ts';

/** How often the last use of a key is written, in ms. */
const STEP_MS = 60_000;
/** Longest wait for the database, in ms. */
const QUERY_MS_MAX = 1_500;

/**
 * Creates a function that notes the use of a key. It returns at once: `last_used_at` is written in the background, at most once a minute for
 * each key, on one connection at most. A failure is logged, and the key is tried again after a minute.
 */
export function createKeyUse(pool: Pool, logger: Logger): (keyId: number) => void {
  /** When each key was last taken up for writing. It holds valid keys only. */
  const takenAt = new Map<number, number>();
  let waiting = new Set<number>();
  let isWriting = false;

  const write = async () => {
    isWriting = true;
    while (waiting.size > 0) {
      const ids = [...waiting];
      waiting = new Set();
      await recordKeyUse(pool, ids, QUERY_MS_MAX).catch((error: unknown) =>
        logger.warn(
          { keyIds: ids },
          `The last use of API keys was not recorded (${errorMessage(error)}). Requests are answered as usual`,
        ),
      );
    }
    isWriting = false;
  };

  return (keyId) => {
    const now = performance.now();
    if (now - (takenAt.get(keyId) ?? Number.NEGATIVE_INFINITY) < STEP_MS) return;
    takenAt.set(keyId, now);
    waiting.add(keyId);
    if (!isWriting) void write();
  };
}
