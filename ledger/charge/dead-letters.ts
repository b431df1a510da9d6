import { createHash } from 'node:crypto';
import { TollwayError } from '../../common/errors.ts';
import { type Connection, joinTransaction, type Pool } from '../../common/postgres/postgres.ts';
import type { ReadClick, ReadRecord, Unreadable } from '../../contract/click-event.ts';
import { BEGIN_CHARGE } from '../charge-locks.ts';
import type { Page } from '../list-filter.ts';
import { noteNoDeadLetters } from './dead-letters-waiting.ts';

/** Why a record was rejected. The first two are for unreadable records, `poison` for either, the others for clicks. */
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

/** A record that the handler rejects. It is stored with its raw bytes until an operator redrives or discards it. */
export type Rejection = {
  readonly record: ReadClick | Unreadable;
  readonly reason: RejectReason;
  /** What was expected and what the record has. */
  readonly detail: string;
};

/** Whether a record is foreign: it has no key of Tollway and holds no click. Foreign records are not counted in reconciliation. */
export function isForeign(record: ReadRecord): boolean {
  return record.is === 'unreadable' && record.from === null;
}

/** Longest broker position that an identity contains verbatim, in characters: a B-tree index entry has at most 2 704 bytes. */
const POSITION_MAX = 500;
/** Hex digits of the hash of a record's bytes in an identity: enough to tell records at one position apart. */
const HASH_DIGITS = 16;

/**
 * Identifies a record across all its copies: by its key if that names a spool and a sequence, else by its click id, else by its position
 * in the broker and a hash of its bytes. The position alone is not enough: a topic that was deleted and created again begins at offset 0,
 * and its records are not copies of the old ones.
 */
export function identityOf(record: ReadClick | Unreadable): string {
  if (record.from !== null) return `${record.from.spoolId}.${record.from.sequence}`;
  if (record.is === 'click') return `click ${record.click.clickId}`;
  const position = `position ${bounded(record.position)}`;
  return record.value === null ? position : `${position} ${hashOf(record.value).slice(0, HASH_DIGITS)}`;
}

function hashOf(value: Buffer): string {
  return createHash('sha256').update(value).digest('hex');
}

/**
 * Replaces a position that PostgreSQL would refuse or change by its hash. A position can contain text from outside, such as an event id.
 */
function bounded(position: string): string {
  const fits = position.length <= POSITION_MAX && !position.includes('\0') && position.isWellFormed();
  return fits ? position : hashOf(Buffer.from(position, 'utf16le'));
}

/** Stores rejected records, one for each identity; copies, also concurrent ones, are skipped. Returns the identities that were inserted. */
export async function insertDeadLetters(
  connection: Connection,
  rejections: readonly Rejection[],
): Promise<Set<string>> {
  if (rejections.length === 0) return new Set();
  const column = <T>(pick: (rejection: Rejection) => T) => rejections.map(pick);
  const click = <T>(pick: (click: ReadClick['click']) => T) =>
    column(({ record }) => (record.is === 'click' ? pick(record.click) : null));
  const { rows } = await connection.query<{ identity: string }>(
    `insert into dead_letter (identity, record_key, click_id, advertiser_id, campaign_id, ad_id, nonce, publisher, clicked_at,
       spool_id, sequence, reason, detail, raw, counted)
     select * from unnest($1::text[], $2::text[], $3::uuid[], $4::integer[], $5::integer[], $6::integer[], $7::uuid[],
       $8::text[], $9::timestamptz[], $10::uuid[], $11::bigint[], $12::text[], $13::text[], $14::bytea[], $15::boolean[])
     order by 1 -- the same order in every transaction, so that two with the same copies cannot deadlock
     on conflict (identity) do nothing returning identity`,
    [
      column(({ record }) => identityOf(record)),
      column(({ record }) => storable(record.key)),
      click((c) => c.clickId),
      click((c) => c.advertiserId),
      click((c) => c.campaignId),
      click((c) => c.adId),
      click((c) => c.nonce),
      click((c) => c.publisher ?? null),
      click((c) => new Date(c.clickedAt)),
      column(({ record }) => record.from?.spoolId ?? null),
      column(({ record }) => record.from?.sequence ?? null),
      column(({ reason }) => reason),
      column(({ detail }) => storable(detail)),
      column(({ record }) => record.value),
      column(({ record }) => !isForeign(record)),
    ],
  );
  return new Set(rows.map((row) => row.identity));
}

/** Replaces NUL, which PostgreSQL's `text` cannot store, and cuts the text to 1 000 characters. */
function storable(text: string | null): string | null {
  return text === null ? null : text.replaceAll('\0', '\u{fffd}').slice(0, 1_000);
}

/** A rejected record in `dead_letter`. */
export type DeadLetter = {
  readonly id: bigint;
  readonly recordKey: string | null;
  readonly clickId: string | null;
  /** As the record says, as well as the advertiser: there may be no such ad. */
  readonly adId: number | null;
  /** The present name of the ad; `null` also if it has none. */
  readonly adName: string | null;
  readonly advertiserId: number | null;
  readonly advertiserName: string | null;
  readonly reason: string;
  readonly detail: string;
  readonly raw: Buffer | null;
  readonly settledAt: Date;
  readonly discardedAt: Date | null;
};

const COLUMNS = `id, record_key as "recordKey", click_id as "clickId", ad_id as "adId", advertiser_id as "advertiserId", reason, detail, raw,
  (select name from ad where ad.id = ad_id) as "adName", (select name from advertiser where advertiser.id = advertiser_id) as "advertiserName",
  settled_at as "settledAt", discarded_at as "discardedAt"`;

/** Returns the dead letters that were not discarded, oldest first. */
export async function listDeadLetters(
  database: Pool | Connection,
  { after = 0n, limit }: Page<bigint> = {},
): Promise<DeadLetter[]> {
  const { rows } = await database.query<DeadLetter>(
    `select ${COLUMNS} from dead_letter where discarded_at is null and id > $1 order by id limit $2::bigint`,
    [after, limit ?? null],
  );
  return rows;
}

/** Returns a dead letter. Throws `unknown_dead_letter`. */
export async function readDeadLetter(database: Pool | Connection, id: bigint): Promise<DeadLetter> {
  const { rows } = await database.query<DeadLetter>(`select ${COLUMNS} from dead_letter where id = $1`, [id]);
  const [letter] = rows;
  if (!letter) throw unknownDeadLetter(id);
  return letter;
}

/** Returns up to `limit` ids above `after` of dead letters that were not discarded, ascending. */
export async function listDeadLetterIds(pool: Pool, after: bigint, limit: number): Promise<bigint[]> {
  const { rows } = await pool.query<{ id: bigint }>(
    'select id from dead_letter where discarded_at is null and id > $1 order by id limit $2',
    [after, limit],
  );
  return rows.map(({ id }) => id);
}

/** Returns the highest id of a dead letter, or 0 if there is none. */
export async function lastDeadLetterId(pool: Pool): Promise<bigint> {
  const { rows } = await pool.query<{ last: bigint | null }>('select max(id) as last from dead_letter');
  return rows[0]?.last ?? 0n;
}

/** Counts the dead letters that were not discarded. */
export async function countDeadLetters(pool: Pool): Promise<number> {
  const { rows } = await pool.query<{ count: number }>(
    'select count(*)::float8 as count from dead_letter where discarded_at is null',
  );
  return rows[0]?.count ?? 0;
}

/** The fields of a dead letter that a redrive needs. */
export type TakenDeadLetter = {
  readonly identity: string;
  readonly recordKey: string | null;
  readonly clickId: string | null;
  readonly spoolId: string | null;
  readonly reason: string;
  readonly raw: Buffer | null;
  readonly counted: boolean;
  readonly settledAt: Date;
  readonly discardedAt: Date | null;
};

/** Deletes a dead letter and returns it, to settle its record in the same transaction. Throws `unknown_dead_letter`. */
export async function takeDeadLetter(connection: Connection, id: bigint): Promise<TakenDeadLetter> {
  const { rows } = await connection.query<TakenDeadLetter>(
    `delete from dead_letter where id = $1
     returning identity, record_key as "recordKey", click_id as "clickId", spool_id as "spoolId", reason, raw, counted,
       settled_at as "settledAt", discarded_at as "discardedAt"`,
    [id],
  );
  const [letter] = rows;
  if (!letter) throw unknownDeadLetter(id);
  return letter;
}

/** Records that a dead letter was redriven, in the transaction that settles its record. `clickId`: of its record, if that is readable now. */
export async function insertRedrive(
  connection: Connection,
  id: bigint,
  { clickId, reason, settledAt }: Pick<TakenDeadLetter, 'clickId' | 'reason' | 'settledAt'>,
  outcome: string,
): Promise<void> {
  await connection.query(
    `insert into dead_letter_redrive (dead_letter_id, click_id, reason, rejected_at, outcome) values ($1, $2, $3, $4, $5)`,
    [id, clickId, reason, settledAt, outcome],
  );
}

/**
 * Discards a dead letter: deletes its raw bytes, so that it cannot be redriven. The click stays `rejected`. Throws `unknown_dead_letter`.
 */
export function discardDeadLetter(database: Pool | Connection, id: bigint): Promise<void> {
  return joinTransaction(
    database,
    async (connection) => {
      const { rowCount } = await connection.query(
        'update dead_letter set raw = null, discarded_at = coalesce(discarded_at, now()) where id = $1',
        [id],
      );
      if (rowCount === 0) throw unknownDeadLetter(id);
      await noteNoDeadLetters(connection);
    },
    BEGIN_CHARGE,
  );
}

function unknownDeadLetter(id: bigint): TollwayError {
  return new TollwayError(
    'unknown_dead_letter',
    `Expected the id of a dead letter in the database, got ${id}`,
  );
}
