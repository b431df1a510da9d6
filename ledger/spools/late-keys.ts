import { arrayLiteral, type Connection, uuidArray } from '../../common/postgres/postgres.ts';
import { uuidFloor } from '../../common/uuid.ts';
import type { ReadClick, SpoolPosition } from '../../contract/click-event.ts';
import { identityOf } from '../charge/dead-letters.ts';
import type { PriorOutcomes } from '../charge/prior-outcomes.ts';
import type { LedgerWindow } from '../ledger-window.ts';
import { groupByPartition } from '../partitions.ts';
import { readSettledSequences, type SpoolCounts, ZERO_COUNTS } from './counters.ts';

type ClickOutcome = 'charged' | 'over_budget' | 'invalid' | 'rejected';
type ClickWithKey = ReadClick & { readonly from: SpoolPosition };

/**
 * Adds the record key to clicks that were settled without it. A click can be settled from a copy without a key, for example from a file
 * or a forwarder that drops keys; its sequence then counts as missing until a copy with the key arrives. This stores the key in the row
 * or dead letter of the click and charges nothing.
 *
 * Returns the changes of the spool counters: each click moves from the clicks without a spool id to its spool. Call it under the locks of
 * the clicks' advertisers and spools. `settledBefore` reports whether a sequence was settled by another record, such as an unreadable
 * one; those are skipped. `null` skips none: a redrive has just deleted the dead letter that settled the sequence.
 */
export async function settleLateKeys(
  connection: Connection,
  clicks: readonly ReadClick[],
  known: PriorOutcomes,
  window: LedgerWindow,
  { settledBefore = readSettledSequences }: { settledBefore?: typeof readSettledSequences | null } = {},
): Promise<SpoolCounts[]> {
  const copies = new Map<string, ClickWithKey>();
  for (const record of clicks) {
    const identity = identityOf(record);
    if (!hasKey(record) || !known.unkeyed.has(record.click.clickId) || known.rejected.has(identity)) continue;
    if (!copies.has(identity)) copies.set(identity, record);
  }
  const positions = [...copies.values()].map(({ from }) => from);
  const isSettled = positions.length === 0 ? null : await settledBefore?.(connection, positions);
  const late = [...copies.values()].filter(({ from }) => !isSettled?.(from));
  if (late.length === 0) return [];
  const keyed = [
    ...(await addKeysToRows(connection, late, window)),
    ...(await addKeysToDeadLetters(connection, late)),
  ];
  const byId = new Map(late.map((record) => [record.click.clickId, record.from]));
  return keyed.flatMap(({ clickId, outcome }) => {
    const from = byId.get(clickId);
    if (!from) return [];
    return [
      { ...ZERO_COUNTS, spoolId: null, sequences: [], [outcome]: -1 },
      { ...ZERO_COUNTS, spoolId: from.spoolId, sequences: [from.sequence], [outcome]: 1 },
    ];
  });
}

function hasKey(record: ReadClick): record is ClickWithKey {
  return record.from !== null;
}

type KeyedClick = { readonly clickId: string; readonly outcome: ClickOutcome };

/** Stores the keys in rows of the ledger. Rows that another transaction has given a key are left unchanged. */
async function addKeysToRows(
  connection: Connection,
  late: readonly ClickWithKey[],
  { clickFloorMs, clickAheadMs }: LedgerWindow,
): Promise<KeyedClick[]> {
  const byId = new Map(late.map((record) => [record.click.clickId, record.from]));
  const keyed: KeyedClick[] = [];
  for (const { ids, startMs, endMs } of groupByPartition(
    'ledger',
    [...byId.keys()],
    clickFloorMs,
    clickAheadMs,
  )) {
    const froms = ids.flatMap((id) => byId.get(id) ?? []);
    const { rows } = await connection.query<KeyedClick>(
      // The bounds on click_id prune the partitions of other days, which would be planned and locked. The role has `update` on the
      // parent only.
      `update ledger set spool_id = late.spool_id, sequence = late.sequence
       from unnest($1::uuid[], $2::uuid[], $3::bigint[]) late (click_id, spool_id, sequence)
       where ledger.click_id = late.click_id and ledger.spool_id is null and ledger.click_id >= $4 and ledger.click_id < $5
       returning ledger.click_id as "clickId", ledger.outcome`,
      [
        uuidArray(ids),
        uuidArray(froms.map(({ spoolId }) => spoolId)),
        arrayLiteral(froms.map(({ sequence }) => sequence)),
        uuidFloor(startMs),
        uuidFloor(endMs),
      ],
    );
    keyed.push(...rows);
  }
  return keyed;
}

/** Stores the keys in dead letters of clicks; the key becomes the identity of the dead letter. */
async function addKeysToDeadLetters(
  connection: Connection,
  late: readonly ClickWithKey[],
): Promise<KeyedClick[]> {
  const { rows } = await connection.query<KeyedClick>(
    `update dead_letter set spool_id = late.spool_id, sequence = late.sequence, identity = late.identity, record_key = late.identity
     from unnest($1::uuid[], $2::uuid[], $3::bigint[], $4::text[]) late (click_id, spool_id, sequence, identity)
     where dead_letter.click_id = late.click_id and dead_letter.spool_id is null
     returning dead_letter.click_id as "clickId", 'rejected' as outcome`,
    [
      uuidArray(late.map(({ click }) => click.clickId)),
      uuidArray(late.map(({ from }) => from.spoolId)),
      arrayLiteral(late.map(({ from }) => from.sequence)),
      late.map((record) => identityOf(record)),
    ],
  );
  return rows;
}
