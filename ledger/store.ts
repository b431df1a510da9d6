import { arrayLiteral, BEGIN, type Connection, type Pool, uuidArray } from '../common/postgres/postgres.ts';
import { uuidV7TimeMs } from '../common/uuid.ts';
import type { ReadClick } from '../contract/click-event.ts';
import type { BatchKeys } from './batch-keys.ts';
import { CopyRows } from './copy-encoder.ts';
import { identityOf } from './dead-letters.ts';
import type { Verdict } from './outcome.ts';
import { dayStart, partitionName } from './partitions.ts';
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

/** What the database has recorded for the clicks of a batch before this transaction. */
export type PriorOutcomes = {
  /** Ids of clicks with a row in the ledger, and of clicks without a spool id that have a dead letter. */
  readonly clickIds: ReadonlySet<string>;
  /** Those of `clickIds` that were settled from a copy without a key. */
  readonly unkeyed: ReadonlySet<string>;
  /** Identities (`identityOf`) that have a dead letter. */
  readonly rejected: ReadonlySet<string>;
  readonly spentNonces: ReadonlySet<string>;
};

/** Whether a click was settled before. */
export function hasPriorOutcome(record: ReadClick, prior: PriorOutcomes): boolean {
  return (
    prior.clickIds.has(record.click.clickId) ||
    (prior.rejected.size > 0 && prior.rejected.has(identityOf(record)))
  );
}

/**
 * Reads which of these clicks, sorted by id, were settled before, and which of their nonces are spent. Ids outside the window have no
 * partition and are skipped. Call it under the locks of the clicks' advertisers and spools: it is one statement that begins after the
 * locks, so under `READ COMMITTED` it sees everything that was committed while the transaction waited for them.
 *
 * The query names each day's partition, because planning a query of the parent takes longer than all the look-ups. If a partition was
 * dropped a moment ago, the query fails with a transient error.
 */
export function readPriorOutcomes(
  connection: Connection,
  clicks: readonly ReadClick[],
  keys: BatchKeys,
  window: LedgerWindow,
): Promise<PriorOutcomes> {
  const clickIds = clicks.map(({ click }) => click.clickId);
  return queryPriorOutcomes(connection, clicks, clickIds, keys, window);
}

/**
 * As `readPriorOutcomes`, but does not query `ledger`: a click that has a row there counts as new, and inserting it again fails with
 * 23505.
 */
export function readPriorRejections(
  connection: Connection,
  clicks: readonly ReadClick[],
  keys: BatchKeys,
  window: LedgerWindow,
): Promise<PriorOutcomes> {
  return queryPriorOutcomes(connection, clicks, [], keys, window);
}

/** `ledgerIds`: the click ids to look up in `ledger`. */
async function queryPriorOutcomes(
  connection: Connection,
  clicks: readonly ReadClick[],
  ledgerIds: readonly string[],
  keys: BatchKeys,
  window: LedgerWindow,
): Promise<PriorOutcomes> {
  const parameters: unknown[] = [];
  const parameter = (value: unknown) => `$${parameters.push(value)}`;
  const settled = groupIdsByDay(ledgerIds, window.clickFloorMs, window.clickAheadMs).map(
    ([
      day,
      ids,
    ]) => `select case when spool_id is null then 'unkeyed' else 'click' end as what, click_id::text as id from ${partitionName('ledger', day)}
      where click_id = any(${parameter(uuidArray(ids))}::uuid[])`,
  );
  const spent = groupIdsByDay(keys.nonces, window.nonceFloorMs, window.nonceAheadMs).map(
    ([day, ids]) => `select 'nonce' as what, nonce::text as id from ${partitionName('spent_nonce', day)}
      where nonce = any(${parameter(uuidArray(ids))}::uuid[])`,
  );
  const { rows } = await connection.query<{ what: 'click' | 'unkeyed' | 'nonce' | 'rejected'; id: string }>(
    [...settled, ...spent, ...deadLetterQueries(clicks, keys, parameter)].join(' union all '),
    parameters,
  );
  const pick = (what: string) => new Set(rows.filter((row) => row.what === what).map((row) => row.id));
  const unkeyed = pick('unkeyed');
  // Not Set.union, which OpenWhisk's Node 20 lacks.
  const settledIds = unkeyed.size === 0 ? pick('click') : new Set([...pick('click'), ...unkeyed]);
  return { clickIds: settledIds, unkeyed, rejected: pick('rejected'), spentNonces: pick('nonce') };
}

/**
 * Queries of the dead letters of a batch. They select by ranges: dead letters are few, so a range is faster than a look-up of each
 * identity.
 */
function deadLetterQueries(
  clicks: readonly ReadClick[],
  { spools, unattributedIds }: BatchKeys,
  parameter: (value: unknown) => string,
): string[] {
  const lowest = [...spools.values()].map((range) => range.lowest);
  const highest = [...spools.values()].map((range) => range.highest);
  const [firstId, lastId] = [clicks[0]?.click.clickId, clicks.at(-1)?.click.clickId];
  return [
    `select 'rejected' as what, identity as id from dead_letter
     join unnest(${parameter(uuidArray([...spools.keys()]))}::uuid[], ${parameter(arrayLiteral(lowest))}::bigint[],
       ${parameter(arrayLiteral(highest))}::bigint[]) batch (spool_id, lowest, highest)
     on dead_letter.spool_id = batch.spool_id and dead_letter.sequence between batch.lowest and batch.highest`,
    `select 'click', click_id::text from dead_letter where click_id = any(${parameter(uuidArray(unattributedIds))}::uuid[])`,
    // The dead letter of a click without a key has its click id and no spool id.
    `select 'unkeyed', click_id::text from dead_letter
     where spool_id is null and click_id between ${parameter(firstId)} and ${parameter(lastId)}`,
  ];
}

/** Groups UUIDv7s by the UTC day of their time, in Unix ms. Omits ids with a time outside [floorMs, aheadMs). */
export function groupIdsByDay(
  ids: readonly string[],
  floorMs: number,
  aheadMs: number,
): [number, string[]][] {
  const days = new Map<number, string[]>();
  for (const id of ids) {
    const createdMs = uuidV7TimeMs(id);
    if (createdMs < floorMs || createdMs >= aheadMs) continue;
    const day = dayStart(createdMs);
    const found = days.get(day);
    if (found) found.push(id);
    else days.set(day, [id]);
  }
  return [...days];
}

/** A click and its outcome, which becomes a row of the ledger. */
export type SettledClick = { readonly record: ReadClick; readonly verdict: Verdict };

/** Collects the rows of settled clicks, in `ledger` and in `spent_nonce`, and inserts them. */
export class LedgerRows {
  private readonly ledger = new CopyRows(11);
  private readonly spentNonces = new CopyRows(2);

  add({ record: { click, from }, verdict: { outcome, reason } }: SettledClick): void {
    const { ledger, spentNonces } = this;
    ledger.row();
    ledger.uuid(click.clickId);
    ledger.uuid(click.nonce);
    ledger.sharedUuid(from?.spoolId ?? null);
    ledger.int8(from?.sequence ?? null);
    ledger.timestamp(click.clickedAt);
    ledger.int8(outcome === 'charged' ? click.priceMicros : 0);
    ledger.int4(click.advertiserId);
    ledger.int4(click.campaignId);
    ledger.int4(click.adId);
    ledger.text(outcome);
    ledger.text(reason);
    if (click.nonce === null || outcome === 'invalid') return;
    spentNonces.row();
    spentNonces.uuid(click.nonce);
    spentNonces.uuid(click.clickId);
  }

  /** Inserts the rows with binary `COPY`. Fails (SQLSTATE 23505) if a click id or a nonce exists already. */
  async insert(connection: Connection): Promise<void> {
    await this.ledger.send(
      connection,
      `copy ledger (click_id, nonce, spool_id, sequence, clicked_at, charged_micros, advertiser_id, campaign_id, ad_id,
         outcome, reason) from stdin (format binary)`,
    );
    await this.spentNonces.send(connection, 'copy spent_nonce (nonce, click_id) from stdin (format binary)');
  }
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
