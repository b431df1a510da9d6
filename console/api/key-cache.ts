import QuickLRU from 'quick-lru';
import type { Pool } from '../../common/postgres/postgres.ts';
import { type ApiKey, findKey } from '../../ledger/access/api-keys.ts';
import { hashSecret } from '../../ledger/access/random-secret.ts';

/** Time for which an active key is accepted without a query, in ms, even if it is revoked or expires meanwhile. */
export const CACHED_MS = 1_000;
const KEYS_MAX = 1_000;

/**
 * Finds the keys of requests, and caches the active ones for a second: a program sends many requests with one key, and looking a key up costs about
 * as much as the query of the request itself. An unknown, expired or revoked key is looked up each time.
 */
export class KeyCache {
  private readonly pool: Pool;
  /** By the hash of the text, so that no text of a key stays in memory. */
  private readonly keys = new QuickLRU<string, { key: ApiKey; until: number }>({ maxSize: KEYS_MAX });

  constructor(pool: Pool) {
    this.pool = pool;
  }

  /** Returns the key with this text, or `null` if there is none. `queryMsMax`: longest wait for the database, in ms. */
  async find(text: string, queryMsMax: number): Promise<ApiKey | null> {
    const hash = hashSecret(text).toString('base64');
    const known = this.keys.get(hash);
    const askedAt = performance.now();
    if (known && askedAt < known.until) return known.key;
    const key = await findKey(this.pool, text, queryMsMax);
    if (key?.status === 'active') this.keys.set(hash, { key, until: askedAt + CACHED_MS });
    return key;
  }
}
