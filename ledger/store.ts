import { arrayLiteral, BEGIN, type Connection, type Pool } from '../common/postgres/postgres.ts';
import { LOCK_SETTLEMENT } from './settlement-watermark.ts';

/**
 * The ids that the ledger accepts, by their time in Unix ms: floors are inclusive, `…AheadMs` exclusive. `nowMs` is the database's time.
 */
export type LedgerWindow = {
  readonly nowMs: number;
  readonly clickFloorMs: number;
  readonly clickAheadMs: number;
  readonly nonceFloorMs: number;
  readonly nonceAheadMs: number;
};

type WindowRow = { now: Date; click_floor: Date; click_ahead: Date; nonce_floor: Date; nonce_ahead: Date };

/** Reads the window. It stays valid for a transaction of some seconds, because days are dropped an hour after the floor was raised. */
export async function readWindow(connection: Pool | Connection): Promise<LedgerWindow> {
  const { rows } = await connection.query<WindowRow>('select now(), ledger_window.* from ledger_window');
  const [row] = rows;
  if (!row) throw new Error('Expected one row in ledger_window, got none. Run npm run migrate');
  return {
    nowMs: row.now.getTime(),
    clickFloorMs: row.click_floor.getTime(),
    clickAheadMs: row.click_ahead.getTime(),
    nonceFloorMs: row.nonce_floor.getTime(),
    nonceAheadMs: row.nonce_ahead.getTime(),
  };
}

/**
 * Begins a transaction that reads one snapshot of the ledger. The locks block the dropping of days and are taken before the snapshot: a day
 * that was dropped in between would be neither in the partitions nor in the closed days. Without `only`, every partition would be locked.
 */
export const BEGIN_SNAPSHOT = `begin isolation level repeatable read, read only;
  lock table only ledger, only spent_nonce in access share mode`;

/**
 * Begins a transaction that locks advertisers. `lock_timeout` ends a long wait on the server; with a timeout of the client alone, the
 * server process would stay in the lock queue. `idle_in_transaction_session_timeout` releases the locks of a client that has stopped.
 * https://www.postgresql.org/docs/18/runtime-config-client.html#RUNTIME-CONFIG-CLIENT-STATEMENT
 *
 * It takes the settlement lock first: see `readSettlementWatermark`.
 *
 * Parallel plans are off: for nonces of many days the planner would start workers and copy thousands of ids into the plan of each.
 */
export const BEGIN_CHARGE = `${BEGIN}; set local lock_timeout = '12s'; set local idle_in_transaction_session_timeout = '15s';
  set local max_parallel_workers_per_gather = 0; ${LOCK_SETTLEMENT}`;

/** The balance of an advertiser whose row is locked. */
export type LockedAdvertiser = {
  readonly remainingMicros: bigint;
  readonly maxPriceMicros: bigint;
  readonly currency: string;
};

/**
 * Locks advertisers until the end of the transaction, in ascending order of id so that transactions cannot deadlock. The result lacks ids
 * that do not exist. If the query waited for a row, it returns the values that the other transaction committed (`READ COMMITTED`, one
 * table, no join).
 */
export async function lockAdvertisers(
  connection: Connection,
  ids: readonly number[],
): Promise<Map<number, LockedAdvertiser>> {
  const { rows } = await connection.query<{
    id: number;
    remaining_micros: bigint;
    max_price_micros: bigint;
    currency: string;
  }>({
    name: 'lock advertisers',
    text: `select id, remaining_micros, max_price_micros, currency
     from advertiser where id = any($1::integer[]) order by id for no key update`,
    values: [arrayLiteral(ids)],
  });
  return new Map(
    rows.map((row) => [
      row.id,
      {
        remainingMicros: row.remaining_micros,
        maxPriceMicros: row.max_price_micros,
        currency: row.currency,
      },
    ]),
  );
}

/** An ad that exists in the database. */
export type KnownAd = {
  readonly campaignId: number;
  readonly advertiserId: number;
  /** The rest of the campaign's cap, or `null` without a cap. */
  readonly capRemainingMicros: bigint | null;
};

/** Reads ads with the rest of their campaigns' caps. Unknown ids are absent. Call it under the advertisers' locks. */
export async function readAds(connection: Connection, ids: readonly number[]): Promise<Map<number, KnownAd>> {
  const { rows } = await connection.query<{
    id: number;
    campaign_id: number;
    advertiser_id: number;
    left: bigint | null;
  }>({
    name: 'read ads',
    text: `select ad.id, ad.campaign_id, ad.advertiser_id, campaign.cap_micros - campaign.spent_micros as left
     from ad join campaign on campaign.id = ad.campaign_id where ad.id = any($1::integer[])`,
    values: [arrayLiteral(ids)],
  });
  return new Map(
    rows.map((row) => [
      row.id,
      { campaignId: row.campaign_id, advertiserId: row.advertiser_id, capRemainingMicros: row.left },
    ]),
  );
}

/** Locks spools until the end of the transaction, in shared mode: for a batch in which every record with a spool id is a click. */
export function lockSpoolsShared(connection: Connection, spoolIds: readonly string[]): Promise<void> {
  return lockSpools(connection, spoolIds, 'pg_advisory_xact_lock_shared');
}

/**
 * Locks spools until the end of the transaction, in exclusive mode: for a batch with an unreadable record under the key of a click.
 * Without it two concurrent transactions could settle one sequence, one by the click and one by the unreadable record.
 */
export function lockSpoolsExclusive(connection: Connection, spoolIds: readonly string[]): Promise<void> {
  return lockSpools(connection, spoolIds, 'pg_advisory_xact_lock');
}

async function lockSpools(
  connection: Connection,
  spoolIds: readonly string[],
  lock: 'pg_advisory_xact_lock' | 'pg_advisory_xact_lock_shared',
): Promise<void> {
  if (spoolIds.length === 0) return;
  await connection.query({
    name: lock,
    text: `select ${lock}(hashtextextended(spool_id, 0)) from unnest($1::text[]) spool_id`,
    values: [arrayLiteral([...spoolIds].sort())],
  });
}

/** Blocks inserts into `ad` until the end of the transaction, so that an ad that is unknown now stays unknown until the commit. */
export async function blockNewAds(connection: Connection): Promise<void> {
  // This mode conflicts with itself. With a weaker one, two transactions could both hold it and then deadlock when they update budget
  // flags.
  await connection.query('lock table ad in share row exclusive mode');
}

/** Adds charges, in micros, to the spending of advertisers and of campaigns with a cap. One relative update for each row. */
export async function chargeBalances(
  connection: Connection,
  byAdvertiser: ReadonlyMap<number, bigint>,
  byCappedCampaign: ReadonlyMap<number, bigint>,
): Promise<void> {
  for (const [table, sums] of [
    ['advertiser', byAdvertiser],
    ['campaign', byCappedCampaign],
  ] as const) {
    if (sums.size === 0) continue;
    await connection.query({
      name: `charge ${table}`,
      text: `update ${table} set spent_micros = ${table}.spent_micros + charge.micros
       from unnest($1::integer[], $2::bigint[]) charge (id, micros) where ${table}.id = charge.id`,
      values: [arrayLiteral([...sums.keys()]), arrayLiteral([...sums.values()])],
    });
  }
}
