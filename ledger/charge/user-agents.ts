import { hash } from 'node:crypto';
import QuickLRU from 'quick-lru';
import { BEGIN, type Connection, inTransaction, type Pool } from '../../common/postgres/postgres.ts';
import { USER_AGENT_MAX } from '../../contract/click-event.ts';
import { readWindow } from '../ledger-window.ts';
import { AHEAD_DAYS, isoDay } from '../partitions.ts';
import { storableText } from './copy-encoder.ts';

/** The id of a user agent's text: 64 bits, as the signed high and the unsigned low half. */
export type UserAgentId = { readonly high: number; readonly low: number };
/** Ids by the text in the click. */
export type UserAgentIds = ReadonlyMap<string, UserAgentId>;

/** Most texts in each generation of the cache. Few user agents make most clicks. */
const STORED_MAX = 4_000;
/** Most texts deleted in one transaction. */
const DELETE_MAX = 5_000;
/** Days after `last_day` on which the evidence of a text can be: the clock of an ad server can run ahead of the database's. */
const LAST_DAY_MARGIN = AHEAD_DAYS + 2;

/** Begins the transaction that inserts texts. Another one can hold the same text. */
const BEGIN_INSERT = `${BEGIN}; set local lock_timeout = '12s'`;

const NONE: UserAgentIds = new Map();

/**
 * The texts of user agents that the table `user_agent` has, as far as this process knows. A text that is not known is inserted before the
 * charge begins, in a transaction of its own: lanes then do not wait for each other's texts, and a charge that is rolled back leaves no text
 * in the cache that the table does not have. The id is a hash of the text, so a lost or deleted row never gives an id to another text.
 */
export class UserAgents {
  private readonly stored = new QuickLRU<string, UserAgentId>({ maxSize: STORED_MAX });
  /** The UTC day of the cached texts: each text is confirmed once a day, which moves its `last_day`. */
  private day = '';
  /** Whether evidence is kept, as the latest transaction has read it; `null` if none has. */
  keepsEvidence: boolean | null = null;

  /** Returns the ids of user agents, after it has inserted those that may be missing. Empty if no evidence is kept. */
  async idsOf(pool: Pool, userAgents: ReadonlySet<string>): Promise<UserAgentIds> {
    if (this.keepsEvidence === null) {
      const { evidenceFloorMs } = await inTransaction(pool, readWindow);
      this.keepsEvidence ??= evidenceFloorMs !== null;
    }
    if (!this.keepsEvidence) return NONE;
    this.forgetYesterday();
    const ids = new Map<string, UserAgentId>();
    const unknown: string[] = [];
    for (const userAgent of userAgents) {
      const id = this.stored.get(userAgent);
      if (id === undefined) unknown.push(userAgent);
      ids.set(userAgent, id ?? userAgentId(userAgent));
    }
    if (unknown.length > 0) await this.insert(pool, unknown, ids);
    return ids;
  }

  /** Forgets all texts, because the database may have lost them. */
  forget(): void {
    this.stored.clear();
  }

  private forgetYesterday(): void {
    const today = isoDay(Date.now());
    if (today !== this.day) this.forget();
    this.day = today;
  }

  private async insert(pool: Pool, unknown: readonly string[], ids: UserAgentIds): Promise<void> {
    await inTransaction(pool, (connection) => insertUserAgents(connection, unknown), BEGIN_INSERT);
    for (const text of unknown) {
      const id = ids.get(text);
      // The ad server cuts texts. A longer one is of another producer, and the cache stays small.
      if (id !== undefined && text.length <= USER_AGENT_MAX) this.stored.set(text, id);
    }
  }
}

const ofPools = new WeakMap<Pool, UserAgents>();

/** The user agents of the database of a pool. */
export function userAgentsOf(pool: Pool): UserAgents {
  const existing = ofPools.get(pool);
  if (existing) return existing;
  const userAgents = new UserAgents();
  // A new connection can be one to a standby that was promoted and lacks the latest commits.
  pool.on('connect', () => userAgents.forget());
  ofPools.set(pool, userAgents);
  return userAgents;
}

/** The text that is stored for a user agent. */
function storedText(userAgent: string): string {
  return storableText(userAgent.slice(0, USER_AGENT_MAX));
}

/** The first 64 bits of the SHA-256 of a user agent's stored text. */
export function userAgentId(userAgent: string): UserAgentId {
  const digest = hash('sha256', storedText(userAgent), 'hex');
  return { high: Number.parseInt(digest.slice(0, 8), 16) | 0, low: Number.parseInt(digest.slice(8, 16), 16) };
}

/** The ids of user agents, whether the table has their texts or not. */
export function userAgentIdsOf(userAgents: Iterable<string>): UserAgentIds {
  return new Map([...userAgents].map((userAgent) => [userAgent, userAgentId(userAgent)]));
}

/**
 * Inserts the texts of user agents, and sets the `last_day` of those that the table has to today. In the order of ids, so that two
 * transactions cannot deadlock. Rows that are up to date are not locked.
 */
export async function insertUserAgents(connection: Connection, userAgents: Iterable<string>): Promise<void> {
  const texts = new Map<bigint, string>();
  for (const userAgent of userAgents) {
    const { high, low } = userAgentId(userAgent);
    texts.set((BigInt(high) << 32n) | BigInt(low), storedText(userAgent));
  }
  if (texts.size === 0) return;
  await connection.query(
    `insert into user_agent (id, text, last_day)
     select given.id, given.text, today
     from unnest($1::bigint[], $2::text[]) given (id, text)
       cross join (select (now() at time zone 'UTC')::date as today) clock
       left join user_agent stored on stored.id = given.id
     where stored.last_day is null or stored.last_day < today
     order by given.id
     on conflict (id) do update set last_day = excluded.last_day where user_agent.last_day < excluded.last_day`,
    [[...texts.keys()], [...texts.values()]],
  );
}

/** Deletes the texts of user agents that no kept evidence can name. */
export async function deleteUnusedUserAgents(pool: Pool): Promise<void> {
  // Not yesterday's and today's texts, even if no evidence is kept: processors have them in their caches until the day ends.
  const unused = `last_day < least(
    (select (evidence_floor at time zone 'UTC')::date from ledger_window) - ${LAST_DAY_MARGIN},
    (now() at time zone 'UTC')::date - 1)`;
  for (;;) {
    // The first condition is for a text that another transaction confirms while this one waits for its row.
    const { rowCount } = await pool.query(
      `delete from user_agent where ${unused}
         and id in (select id from user_agent where ${unused} order by last_day limit ${DELETE_MAX})`,
    );
    if (rowCount === 0) return;
  }
}
