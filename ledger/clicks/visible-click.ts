import type { Connection } from '../../common/postgres/postgres.ts';
import { type ClickRows, findPartition } from './click-rows.ts';

/**
 * Returns the id of the click that has an id, or that has spent it as a nonce, if the click belongs to one of the advertisers, or `null`.
 * `isNonce`: the id can only be a nonce. It takes the same queries whether there is no such click or it belongs to another advertiser, so that
 * the time of an answer does not tell. Call it in a transaction that was begun with `BEGIN_SNAPSHOT`.
 */
export async function findVisibleClick(
  connection: Connection,
  id: string,
  isNonce: boolean,
  advertiserIds: readonly number[],
): Promise<string | null> {
  const ofNonce = await findClickOfNonce(connection, id);
  const owners = new Map<string, number | null>();
  for (const clickId of [id, ofNonce ?? id]) {
    const owner = await findOwner(connection, clickId);
    if (owner !== null) owners.set(clickId, owner);
  }
  const candidates = [...(isNonce ? [] : [id]), ...(ofNonce === null ? [] : [ofNonce])];
  return candidates.find((clickId) => advertiserIds.includes(owners.get(clickId) ?? 0)) ?? null;
}

/** As `findClickOfNonce` of click-rows.ts, with one query for spent nonces and dead letters. */
async function findClickOfNonce(connection: Connection, nonce: string): Promise<string | null> {
  const partition = await findPartition(connection, 'spent_nonce', nonce);
  const spent =
    partition === null ? '' : `select 1 as rank, click_id from ${partition} where nonce = $1 union all`;
  const { rows } = await connection.query<{ clickId: string | null }>(
    `select click_id as "clickId" from (${spent} select 2 as rank, click_id from dead_letter where nonce = $1) found
     where click_id is not null order by rank, click_id limit 1`,
    [nonce],
  );
  return rows[0]?.clickId ?? null;
}

/** The advertiser of a click by its row, its dead letter or its credit. */
async function findOwner(connection: Connection, clickId: string): Promise<number | null> {
  const partition = await findPartition(connection, 'ledger', clickId);
  const inLedger =
    partition === null
      ? ''
      : `select 1 as rank, advertiser_id from ${partition} where click_id = $1 union all`;
  const { rows } = await connection.query<{ advertiserId: number | null }>(
    `select advertiser_id as "advertiserId" from (
       ${inLedger} select 2 as rank, advertiser_id from budget_entry where click_id = $1
       union all select 3 as rank, advertiser_id from dead_letter where click_id = $1
     ) found order by rank limit 1`,
    [clickId],
  );
  return rows[0]?.advertiserId ?? null;
}

/** What is stored about a click, without its position in a spool: sequences count the clicks of all advertisers. */
export function withoutPosition(rows: ClickRows): ClickRows {
  const nowhere = { spoolId: null, sequence: null };
  return {
    ...rows,
    ledger: rows.ledger && { ...rows.ledger, ...nowhere },
    letters: rows.letters.map((letter) => ({ ...letter, ...nowhere })),
  };
}
