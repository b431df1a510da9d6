import QuickLRU from 'quick-lru';
import { errorMessage } from '../../common/errors.ts';
import type { Pool } from '../../common/postgres/postgres.ts';
import type { Logger } from '../../common/telemetry/logger.ts';
import { recordKeyUse } from '../../ledger/access/api-keys.ts';
import { RENEW_STEP_MS, renewSessions } from '../../ledger/access/console-sessions.ts';

/** How often the last use of a key is written, in ms. */
const KEY_STEP_MS = 60_000;
/** Longest wait for the database, in ms. */
const QUERY_MS_MAX = 1_500;
/** Ids that are kept at once. Of one that was dropped, the next use is written early. */
const IDS_MAX = 10_000;

/** Creates a function that notes the use of a key. */
export function createKeyUse(pool: Pool, logger: Logger): (keyId: number) => void {
  return createUseLog<number>(
    KEY_STEP_MS,
    (ids) => recordKeyUse(pool, ids, QUERY_MS_MAX),
    (keyIds, error) =>
      logger.warn(
        { keyIds },
        `The last use of API keys was not recorded (${errorMessage(error)}). Requests are answered as usual`,
      ),
  );
}

/** Creates a function that notes the use of a session, so that it is renewed. */
export function createSessionUse(pool: Pool, logger: Logger): (sessionId: bigint) => void {
  return createUseLog<bigint>(
    RENEW_STEP_MS,
    (ids) => renewSessions(pool, ids, QUERY_MS_MAX),
    (_, error) =>
      logger.warn(
        `Sessions of browsers were not renewed (${errorMessage(error)}). Requests are answered as usual, and the next hour tries again`,
      ),
  );
}

/**
 * Creates a function that notes the use of an id, which was accepted. It returns at once: `write` runs in the background, at most once in
 * `stepMs` for each id, on one connection at most. After a failure, the id is tried again after `stepMs`.
 */
function createUseLog<Id extends number | bigint>(
  stepMs: number,
  write: (ids: readonly Id[]) => Promise<void>,
  onFailure: (ids: readonly Id[], error: unknown) => void,
): (id: Id) => void {
  /** When each id was last taken up for writing. */
  const takenAt = new QuickLRU<Id, number>({ maxSize: IDS_MAX });
  let waiting = new Set<Id>();
  let isWriting = false;

  const writeAll = async () => {
    isWriting = true;
    while (waiting.size > 0) {
      const ids = [...waiting];
      waiting = new Set();
      await write(ids).catch((error: unknown) => onFailure(ids, error));
    }
    isWriting = false;
  };

  return (id) => {
    const now = performance.now();
    if (now - (takenAt.get(id) ?? Number.NEGATIVE_INFINITY) < stepMs) return;
    takenAt.set(id, now);
    waiting.add(id);
    if (!isWriting) void writeAll();
  };
}
