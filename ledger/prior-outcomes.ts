import { arrayLiteral, type Connection, uuidArray } from '../common/postgres/postgres.ts';
import { uuidV7TimeMs } from '../common/uuid.ts';
import type { ReadClick } from '../contract/click-event.ts';
import type { BatchKeys } from './batch-keys.ts';
import { identityOf } from './dead-letters.ts';
import type { LedgerWindow } from './ledger-window.ts';
import { dayStart, partitionName } from './partitions.ts';

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
