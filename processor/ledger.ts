import { CopyRows } from '../common/copy-rows.ts';
import type { Connection } from '../common/postgres.ts';
import type { ReadClick } from '../producer/click-event.ts';
import type { Verdict } from './allocate.ts';

/** The days that the ledger can take, in Unix ms: from each floor up to, and without, what is ahead. */
export type LedgerWindow = {
  readonly nowMs: number;
  readonly clickFloorMs: number;
  readonly clickAheadMs: number;
  readonly nonceFloorMs: number;
  readonly nonceAheadMs: number;
};

type WindowRow = { now: Date; click_floor: Date; click_ahead: Date; nonce_floor: Date; nonce_ahead: Date };

/** Reads the window. Inside a transaction it holds for its few seconds: a floor leads its drop by an hour. */
export async function readWindow(connection: Connection): Promise<LedgerWindow> {
  const { rows } = await connection.query<WindowRow>('select now(), ledger_window.* from ledger_window');
  const [row] = rows;
  if (!row) throw new Error('Expected a row in ledger_window: run the migration');
  return {
    nowMs: row.now.getTime(),
    clickFloorMs: row.click_floor.getTime(),
    clickAheadMs: row.click_ahead.getTime(),
    nonceFloorMs: row.nonce_floor.getTime(),
    nonceAheadMs: row.nonce_ahead.getTime(),
  };
}

export type LockedAdvertiser = {
  readonly remainingMicros: bigint;
  readonly dearestAdMicros: bigint;
  readonly currency: string;
};

/**
 * Locks advertisers until the end of the transaction, in ascending order of id whatever the order given: with
 * one order everywhere there is no deadlock. Absent ids are absent from the answer. A row that had to be
 * waited for is returned as the one before left it (`READ COMMITTED`, one table, no join).
 */
export async function lockAdvertisers(
  connection: Connection,
  ids: readonly number[],
): Promise<Map<number, LockedAdvertiser>> {
  const { rows } = await connection.query<{
    id: number;
    remaining_micros: bigint;
    dearest_ad_micros: bigint;
    currency: string;
  }>(
    `select id, remaining_micros, dearest_ad_micros, currency
     from advertiser where id = any($1::integer[]) order by id for no key update`,
    [ids],
  );
  return new Map(
    rows.map((row) => [
      row.id,
      {
        remainingMicros: row.remaining_micros,
        dearestAdMicros: row.dearest_ad_micros,
        currency: row.currency,
      },
    ]),
  );
}

export type KnownAd = {
  readonly campaignId: number;
  readonly advertiserId: number;
  /** What is left of the campaign's cap, or `null` without one. */
  readonly capRemainingMicros: bigint | null;
};

/** Reads ads with what is left of their campaigns' caps. To be called under the advertisers' locks. */
export async function readAds(connection: Connection, ids: readonly number[]): Promise<Map<number, KnownAd>> {
  const { rows } = await connection.query<{
    id: number;
    campaign_id: number;
    advertiser_id: number;
    left: bigint | null;
  }>(
    `select ad.id, ad.campaign_id, ad.advertiser_id, campaign.cap_micros - campaign.spent_micros as left
     from ad join campaign on campaign.id = ad.campaign_id where ad.id = any($1::integer[])`,
    [ids],
  );
  return new Map(
    rows.map((row) => [
      row.id,
      { campaignId: row.campaign_id, advertiserId: row.advertiser_id, capRemainingMicros: row.left },
    ]),
  );
}

/** Keeps ads from being born until the end of the transaction: only then is an unknown ad truly unknown. */
export async function lockOutNewAds(connection: Connection): Promise<void> {
  // Conflicts with itself as well: two holders that both went on to set a brake would wait for each other.
  await connection.query('lock table ad in share row exclusive mode');
}

export type Known = {
  /** Click ids that have their row in the ledger. */
  readonly clickIds: ReadonlySet<string>;
  readonly spentNonces: ReadonlySet<string>;
  /** Identities that have a dead letter. */
  readonly rejected: ReadonlySet<string>;
};

/**
 * Which of these were settled before. One statement, begun after the locks: under `READ COMMITTED` it sees all
 * that was committed while the locks were waited for. The bounds beside each list let the planner leave out
 * the partitions of other days.
 */
export async function readKnown(
  connection: Connection,
  clickIds: readonly string[],
  nonces: readonly string[],
  identities: readonly string[],
): Promise<Known> {
  const { rows } = await connection.query<{ what: 'click' | 'nonce' | 'rejected'; id: string }>(
    `select 'click' as what, click_id::text as id from ledger
       where click_id = any($1::uuid[]) and click_id between $2 and $3
     union all
     select 'nonce', spent.nonce::text from unnest($4::uuid[]) asked (nonce)
       join spent_nonce spent on spent.nonce = asked.nonce and spent.nonce between $5 and $6
     union all
     select 'rejected', identity from dead_letter where identity = any($7::text[])`,
    [clickIds, ...bounds(clickIds), nonces, ...bounds(nonces), identities],
  );
  const pick = (what: string) => new Set(rows.filter((row) => row.what === what).map((row) => row.id));
  return { clickIds: pick('click'), spentNonces: pick('nonce'), rejected: pick('rejected') };
}

function bounds(ids: readonly string[]): [string | null, string | null] {
  let [lowest, highest] = [ids[0] ?? null, ids[0] ?? null];
  for (const id of ids) {
    if (lowest !== null && id < lowest) lowest = id;
    if (highest !== null && id > highest) highest = id;
  }
  return [lowest, highest];
}

/** One row of the ledger to be. */
export type Settled = { readonly record: ReadClick; readonly verdict: Verdict };

/** Inserts ledger rows with binary `COPY`. A click id that is there already fails the transaction (23505). */
export async function insertLedgerRows(connection: Connection, settled: readonly Settled[]): Promise<void> {
  const rows = new CopyRows(11);
  for (const { record, verdict } of settled) {
    const { click, from } = record;
    rows.row();
    rows.uuid(click.clickId);
    rows.uuid(click.nonce);
    rows.uuid(from?.origin ?? null);
    rows.int8(from?.sequence ?? null);
    rows.timestamp(click.clickedAt);
    rows.int8(verdict.outcome === 'charged' ? click.priceMicros : 0);
    rows.int4(click.advertiserId);
    rows.int4(click.campaignId);
    rows.int4(click.adId);
    rows.text(verdict.outcome);
    rows.text(verdict.reason);
  }
  await rows.send(
    connection,
    `copy ledger (click_id, nonce, origin, sequence, clicked_at, charged_micros, advertiser_id, campaign_id, ad_id,
       outcome, reason) from stdin (format binary)`,
  );
}

/** Marks the nonces of valid clicks as spent. One that was spent meanwhile fails the transaction (23505). */
export async function insertSpentNonces(connection: Connection, settled: readonly Settled[]): Promise<void> {
  const rows = new CopyRows(2);
  let count = 0;
  for (const { record, verdict } of settled) {
    if (record.click.nonce === null || verdict.outcome === 'invalid') continue;
    count += 1;
    rows.row();
    rows.uuid(record.click.nonce);
    rows.uuid(record.click.clickId);
  }
  if (count > 0) await rows.send(connection, 'copy spent_nonce (nonce, click_id) from stdin (format binary)');
}

/** Decrements budgets and caps by what was allocated: relative updates, once for each row. */
export async function chargeBalances(
  connection: Connection,
  byAdvertiser: ReadonlyMap<number, bigint>,
  byCampaign: ReadonlyMap<number, bigint>,
): Promise<void> {
  if (byAdvertiser.size === 0) return;
  await connection.query(
    `with charged_campaign as (
       update campaign set spent_micros = campaign.spent_micros + charge.micros
       from unnest($3::integer[], $4::bigint[]) charge (id, micros) where campaign.id = charge.id
     )
     update advertiser set spent_micros = advertiser.spent_micros + charge.micros
     from unnest($1::integer[], $2::bigint[]) charge (id, micros) where advertiser.id = charge.id`,
    [[...byAdvertiser.keys()], [...byAdvertiser.values()], [...byCampaign.keys()], [...byCampaign.values()]],
  );
}

/** What one transaction adds to an origin. */
export type OriginTally = {
  origin: string | null;
  accepted: number;
  charged: number;
  over_budget: number;
  invalid: number;
  rejected: number;
  sequences: number[];
};

/** Appends to the tally, a row an origin: nothing is updated, so nobody waits. */
export async function appendTallies(connection: Connection, tallies: readonly OriginTally[]): Promise<void> {
  if (tallies.length === 0) return;
  const values = tallies.flatMap((tally) => [
    tally.origin,
    tally.accepted,
    tally.charged,
    tally.over_budget,
    tally.invalid,
    tally.rejected,
    tally.sequences,
  ]);
  const rows = tallies.map((_, row) => {
    const parameter = (column: number) => `$${row * 7 + column}`;
    return `(${parameter(1)}::uuid, ${[2, 3, 4, 5, 6].map((c) => `${parameter(c)}::bigint`)}, ${parameter(7)}::bigint[])`;
  });
  await connection.query(
    `insert into origin_tally (origin, accepted, charged, over_budget, invalid, rejected, sequences) values ${rows}`,
    values,
  );
}
