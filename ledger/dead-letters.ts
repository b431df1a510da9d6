import { createHash } from 'node:crypto';
import { TollwayError } from '../common/errors.ts';
import type { Connection, Pool } from '../common/postgres/postgres.ts';
import type { ReadClick, ReadRecord, Unreadable } from '../contract/click-event.ts';

/** Why a record was rejected. All but the first two are about a click that could be read. */
export const REJECT_REASONS = [
  'malformed',
  'unknown_version',
  'unknown_ad',
  'wrong_advertiser',
  'too_old',
  'id_out_of_range',
  'nonce_out_of_range',
  'poison',
] as const;
export type RejectReason = (typeof REJECT_REASONS)[number];

/** A record that the handler rejects: kept with its raw bytes until an operator decides. */
export type Rejection = {
  readonly record: ReadClick | Unreadable;
  readonly reason: RejectReason;
  /** What was expected and what came. */
  readonly detail: string;
};

/** Whether a record is no click of ours at all: it has neither our key nor a click in it. */
export function isForeign(record: ReadRecord): boolean {
  return record.is === 'unreadable' && record.from === null;
}

/** Longest place in a broker that stands in an identity as it is, in characters: an index takes 2 704 bytes. */
const POSITION_MAX = 500;
/** Hex digits of a hash of bytes in an identity: enough to tell apart what came to one place. */
const HASH_DIGITS = 16;

/**
 * What makes a record itself, through all its copies: its key where that names a spool and a sequence, else
 * its click id, else its place in the broker and its bytes. The place alone is not enough: a topic that was deleted and
 * made anew begins at offset 0 again, and what comes there is no copy of what was there before.
 */
export function identityOf(record: ReadClick | Unreadable): string {
  if (record.from !== null) return `${record.from.spoolId}.${record.from.sequence}`;
  if (record.is === 'click') return `click ${record.click.clickId}`;
  const place = `position ${bounded(record.position)}`;
  return record.value === null ? place : `${place} ${hashOf(record.value).slice(0, HASH_DIGITS)}`;
}

function hashOf(value: Buffer): string {
  return createHash('sha256').update(value).digest('hex');
}

/** A place may hold what a stranger wrote: what PostgreSQL would refuse or change is named by its hash. */
function bounded(position: string): string {
  const fits = position.length <= POSITION_MAX && !position.includes('\0') && position.isWellFormed();
  return fits ? position : hashOf(Buffer.from(position, 'utf16le'));
}

/**
 * Keeps rejected records, each once: a copy that comes later or at the same time is left out.
 * Returns the identities that were new.
 */
export async function insertDeadLetters(
  connection: Connection,
  rejections: readonly Rejection[],
): Promise<Set<string>> {
  if (rejections.length === 0) return new Set();
  const column = <T>(pick: (rejection: Rejection) => T) => rejections.map(pick);
  const click = <T>(pick: (click: ReadClick['click']) => T) =>
    column(({ record }) => (record.is === 'click' ? pick(record.click) : null));
  const { rows } = await connection.query<{ identity: string }>(
    `insert into dead_letter (identity, record_key, click_id, advertiser_id, campaign_id, ad_id, nonce, clicked_at,
       spool_id, sequence, reason, detail, raw, counted)
     select * from unnest($1::text[], $2::text[], $3::uuid[], $4::integer[], $5::integer[], $6::integer[], $7::uuid[],
       $8::timestamptz[], $9::uuid[], $10::bigint[], $11::text[], $12::text[], $13::bytea[],
       $14::boolean[])
     order by 1 -- one order for all, so that two transactions with the same copies never wait in a circle
     on conflict (identity) do nothing returning identity`,
    [
      column(({ record }) => identityOf(record)),
      column(({ record }) => printable(record.key)),
      click((c) => c.clickId),
      click((c) => c.advertiserId),
      click((c) => c.campaignId),
      click((c) => c.adId),
      click((c) => c.nonce),
      click((c) => new Date(c.clickedAt)),
      column(({ record }) => record.from?.spoolId ?? null),
      column(({ record }) => record.from?.sequence ?? null),
      column(({ reason }) => reason),
      column(({ detail }) => printable(detail)),
      column(({ record }) => record.value),
      column(({ record }) => !isForeign(record)),
    ],
  );
  return new Set(rows.map((row) => row.identity));
}

/** PostgreSQL's text takes no NUL. */
function printable(key: string | null): string | null {
  return key === null ? null : key.replaceAll('\0', '\u{fffd}').slice(0, 1_000);
}

export type DeadLetter = {
  readonly id: bigint;
  readonly recordKey: string | null;
  readonly clickId: string | null;
  readonly adId: number | null;
  readonly reason: string;
  readonly detail: string;
  readonly raw: Buffer | null;
  readonly settledAt: Date;
  readonly discardedAt: Date | null;
};

const COLUMNS = `id, record_key as "recordKey", click_id as "clickId", ad_id as "adId", reason, detail, raw,
  settled_at as "settledAt", discarded_at as "discardedAt"`;

/** The dead letters that wait, oldest first. */
export async function listDeadLetters(pool: Pool, limit: number): Promise<DeadLetter[]> {
  const { rows } = await pool.query<DeadLetter>(
    `select ${COLUMNS} from dead_letter where discarded_at is null order by id limit $1`,
    [limit],
  );
  return rows;
}

/** One dead letter. Throws `unknown_dead_letter`. */
export async function readDeadLetter(pool: Pool, id: bigint): Promise<DeadLetter> {
  const { rows } = await pool.query<DeadLetter>(`select ${COLUMNS} from dead_letter where id = $1`, [id]);
  const [letter] = rows;
  if (!letter) throw unknownDeadLetter(id);
  return letter;
}

/** The ids of the dead letters that wait, oldest first; `after` of one page is the last id of the page before. */
export async function listDeadLetterIds(pool: Pool, after: bigint, limit: number): Promise<bigint[]> {
  const { rows } = await pool.query<{ id: bigint }>(
    'select id from dead_letter where discarded_at is null and id > $1 order by id limit $2',
    [after, limit],
  );
  return rows.map(({ id }) => id);
}

/** The highest id of a dead letter, or 0 without one. */
export async function lastDeadLetterId(pool: Pool): Promise<bigint> {
  const { rows } = await pool.query<{ last: bigint | null }>('select max(id) as last from dead_letter');
  return rows[0]?.last ?? 0n;
}

/** How many dead letters wait for a redrive or a discard. */
export async function countDeadLetters(pool: Pool): Promise<number> {
  const { rows } = await pool.query<{ count: number }>(
    'select count(*)::float8 as count from dead_letter where discarded_at is null',
  );
  return rows[0]?.count ?? 0;
}

/** What a redrive has to know of a dead letter. */
export type TakenDeadLetter = {
  readonly identity: string;
  readonly recordKey: string | null;
  readonly spoolId: string | null;
  readonly raw: Buffer | null;
  readonly counted: boolean;
  readonly discardedAt: Date | null;
};

/** Takes a dead letter out, to settle its record in the same transaction. Throws `unknown_dead_letter`. */
export async function takeDeadLetter(connection: Connection, id: bigint): Promise<TakenDeadLetter> {
  const { rows } = await connection.query<TakenDeadLetter>(
    `delete from dead_letter where id = $1
     returning identity, record_key as "recordKey", spool_id as "spoolId", raw, counted, discarded_at as "discardedAt"`,
    [id],
  );
  const [letter] = rows;
  if (!letter) throw unknownDeadLetter(id);
  return letter;
}

/** Gives up the raw bytes of a dead letter. The click stays `rejected`. Throws `unknown_dead_letter`. */
export async function discardDeadLetter(pool: Pool, id: bigint): Promise<void> {
  const { rowCount } = await pool.query(
    'update dead_letter set raw = null, discarded_at = coalesce(discarded_at, now()) where id = $1',
    [id],
  );
  if (rowCount === 0) throw unknownDeadLetter(id);
}

function unknownDeadLetter(id: bigint): TollwayError {
  return new TollwayError(
    'unknown_dead_letter',
    `Expected the id of a dead letter in the database, got ${id}`,
  );
}
