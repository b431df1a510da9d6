import { arrayLiteral, type Connection, uuidArray } from '../../common/postgres/postgres.ts';
import type { ReadClick } from '../../contract/click-event.ts';
import { type LedgerWindow, WINDOW_COLUMNS, type WindowRow, windowOf } from '../ledger-window.ts';
import { groupByPartition } from '../partitions.ts';
import type { BatchKeys } from './batch-keys.ts';
import { identityOf } from './dead-letters.ts';

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

/** What a transaction reads before it decides. */
export type PriorState = {
  readonly window: LedgerWindow;
  /** The time that its rows are stamped with, in Unix ms. */
  readonly settledAt: number;
  readonly prior: PriorOutcomes;
};

/**
 * Reads the window, the time of settlement, which of these clicks, sorted by id, were settled before, and which of their nonces are spent.
 * Ids outside the window are skipped. Call it under the locks of the clicks' advertisers and spools: its statements begin after the locks,
 * so under `READ COMMITTED` they see everything that was committed while the transaction waited for them.
 */
export async function readPriorOutcomes(
  connection: Connection,
  clicks: readonly ReadClick[],
  keys: BatchKeys,
): Promise<PriorState> {
  const { found, ...read } = await readRejections(connection, clicks, keys);
  const clickIds = clicks.map(({ click }) => click.clickId);
  const settled = await lookUp(connection, clickIds, keys, read.window);
  return { ...read, prior: outcomesOf([...found, ...settled]) };
}

/**
 * As `readPriorOutcomes`, but does not query `ledger`: a click that has a row there counts as new, and inserting it again fails with
 * 23505.
 */
export async function readPriorRejections(
  connection: Connection,
  clicks: readonly ReadClick[],
  keys: BatchKeys,
): Promise<PriorState> {
  const { found, ...read } = await readRejections(connection, clicks, keys);
  const spent = await lookUp(connection, [], keys, read.window);
  return { ...read, prior: outcomesOf([...found, ...spent]) };
}

type Found = { readonly what: 'click' | 'unkeyed' | 'nonce' | 'rejected'; readonly id: string };

function outcomesOf(found: readonly Found[]): PriorOutcomes {
  const pick = (what: string) => new Set(found.filter((row) => row.what === what).map((row) => row.id));
  const unkeyed = pick('unkeyed');
  // Not Set.union, which OpenWhisk's Node 20 lacks.
  const clickIds = unkeyed.size === 0 ? pick('click') : new Set([...pick('click'), ...unkeyed]);
  return { clickIds, unkeyed, rejected: pick('rejected'), spentNonces: pick('nonce') };
}

type RejectionRow = WindowRow & { settled_at: Date } & (Found | { what: null });

/**
 * Reads the window, the time of settlement and the dead letters of a batch, in one prepared statement: planning it takes longer than
 * running it. It selects the dead letters by ranges: they are few, so a range is faster than a look-up of each identity.
 */
async function readRejections(
  connection: Connection,
  clicks: readonly ReadClick[],
  { spools, unattributedIds }: BatchKeys,
): Promise<{ window: LedgerWindow; settledAt: number; found: Found[] }> {
  const ranges = [...spools.values()];
  const { rows } = await connection.query<RejectionRow>({
    name: 'read rejections',
    text: `select ${WINDOW_COLUMNS}, (select lock_settlement()) as settled_at, what, id from ledger_window left join (
       select 'rejected' as what, identity as id from dead_letter
         join unnest($1::uuid[], $2::bigint[], $3::bigint[]) batch (spool_id, lowest, highest)
         on dead_letter.spool_id = batch.spool_id and dead_letter.sequence between batch.lowest and batch.highest
       union all select 'click', click_id::text from dead_letter where click_id = any($4::uuid[])
       -- The dead letter of a click without a key has its click id and no spool id.
       union all select 'unkeyed', click_id::text from dead_letter
         where spool_id is null and click_id between $5::uuid and $6::uuid
     ) found on true`,
    values: [
      uuidArray([...spools.keys()]),
      arrayLiteral(ranges.map((range) => range.lowest)),
      arrayLiteral(ranges.map((range) => range.highest)),
      uuidArray(unattributedIds),
      clicks[0]?.click.clickId,
      clicks.at(-1)?.click.clickId,
    ],
  });
  const [first] = rows;
  const window = windowOf(first);
  return {
    window,
    settledAt: Number(first?.settled_at),
    found: rows.flatMap((row) => (row.what === null ? [] : row)),
  };
}

/**
 * Looks up clicks in `ledger` and the nonces of a batch in `spent_nonce`. The query names each partition, because planning a query of
 * the parent takes longer than all the look-ups. If a partition was dropped a moment ago, the query fails with a transient error. It is
 * planned each time: a plan that was made for a small partition can be far too slow for a large one.
 */
async function lookUp(
  connection: Connection,
  clickIds: readonly string[],
  { nonces }: BatchKeys,
  window: LedgerWindow,
): Promise<Found[]> {
  const settled = groupByPartition('ledger', clickIds, window.clickFloorMs, window.clickAheadMs);
  const spent = groupByPartition('spent_nonce', nonces, window.nonceFloorMs, window.nonceAheadMs);
  const queries = [
    ...settled.map(
      (
        { name },
        at,
      ) => `select case when spool_id is null then 'unkeyed' else 'click' end as what, click_id::text as id from ${name}
      where click_id = any($${at + 1}::uuid[])`,
    ),
    ...spent.map(
      ({ name }, at) => `select 'nonce' as what, nonce::text as id from ${name}
      where nonce = any($${settled.length + at + 1}::uuid[])`,
    ),
  ];
  if (queries.length === 0) return [];
  const { rows } = await connection.query<Found>(
    queries.join(' union all '),
    [...settled, ...spent].map(({ ids }) => uuidArray(ids)),
  );
  return rows;
}
