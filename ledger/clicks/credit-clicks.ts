import {
  arrayLiteral,
  type Connection,
  joinTransaction,
  type Pool,
  uuidArray,
} from '../../common/postgres/postgres.ts';
import { uuidV7TimeMs } from '../../common/uuid.ts';
import { readAdvertiser } from '../accounts/advertisers.ts';
import { creditReference } from '../accounts/budget-entries.ts';
import { updateBudgetFlags } from '../accounts/budget-flag.ts';
import { unknownAdvertiser } from '../advertiser-lock.ts';
import { type AdvertiserBalance, BEGIN_CHARGE, lockAdvertisers } from '../charge-locks.ts';
import { readNames } from '../names.ts';
import { dayStart, isoDay, listPartitionDays } from '../partitions.ts';
import { addCreditsToRollup, holdRollup } from '../reports/rollup.ts';

/** Most clicks of one call: its transaction holds the locks of their advertisers, for which charges wait. */
export const CREDIT_CLICKS_MAX = 1_000;

/**
 * What became of one click:
 * - `credited`: its charge is given back now; `already_credited`: it was before, and nothing was added.
 * - `not_charged`: the ledger has it with another outcome than `charged`.
 * - `other_advertiser`: it is not of the advertiser that was named.
 * - `day_closed`: the ledger has no rows of its day any more. `unknown`: the ledger has its day, and not the click.
 */
export type CreditResult =
  | (CreditedClick & { readonly result: 'credited' | 'already_credited' })
  | (OwnedClick & {
      readonly result: 'not_charged';
      readonly outcome: string;
      readonly reason: string | null;
    })
  | (OwnedClick & { readonly result: 'other_advertiser'; readonly advertiserName: string })
  | { readonly clickId: string; readonly result: 'unknown' | 'day_closed' };

type OwnedClick = { readonly clickId: string; readonly advertiserId: number };
export type CreditedClick = OwnedClick & { readonly amountMicros: bigint; readonly currency: string };

/** Whose clicks may be credited. */
export type CreditFilter = {
  /** Clicks of other advertisers count as unknown; `null`: none do. */
  readonly advertiserIds?: readonly number[] | null;
  /** Clicks of other advertisers are refused as `other_advertiser`. */
  readonly advertiserId?: number;
};

/**
 * Refunds the charges of at most `CREDIT_CLICKS_MAX` clicks (canonical ids), each once, as `creditClick` does, in one transaction. A click
 * that cannot be credited does not stop the others. Returns a result for each different id, in the order of the first mentions. Throws
 * `unknown_advertiser` if the advertiser of the filter does not exist, and, without crediting anything, `bad_time_zone` if the database
 * server does not know the time zone of one of the advertisers.
 */
export function creditClicks(
  database: Pool | Connection,
  clickIds: readonly string[],
  filter: CreditFilter = {},
): Promise<CreditResult[]> {
  const ids = [...new Set(clickIds)];
  if (ids.length > CREDIT_CLICKS_MAX)
    throw new RangeError(`Expected at most ${CREDIT_CLICKS_MAX} click ids, got ${ids.length}`);
  return joinTransaction(database, (connection) => creditAll(connection, ids, filter), BEGIN_CHARGE);
}

async function creditAll(
  connection: Connection,
  ids: readonly string[],
  { advertiserIds = null, advertiserId }: CreditFilter,
): Promise<CreditResult[]> {
  if (advertiserId !== undefined) await readAdvertiser(connection, advertiserId);
  await holdRollup(connection);
  const isVisible = (click: OwnedClick) => advertiserIds?.includes(click.advertiserId) ?? true;
  const isWanted = (click: OwnedClick) => advertiserId === undefined || click.advertiserId === advertiserId;
  const results = new Map<string, CreditResult>();
  const ownerOf = new Map<string, number>();
  const refuseOther = (click: OwnedClick) => ownerOf.set(click.clickId, click.advertiserId);
  const charged: Click[] = [];
  for (const click of (await readClicks(connection, ids)).filter(isVisible)) {
    const { clickId, advertiserId: owner, outcome, reason } = click;
    if (!isWanted(click)) refuseOther(click);
    else if (outcome === 'charged') charged.push(click);
    else results.set(clickId, { clickId, advertiserId: owner, result: 'not_charged', outcome, reason });
  }
  for (const credit of await enterCredits(connection, charged)) results.set(credit.clickId, credit);
  // After the credits, so that it sees those that were entered in the meantime. Also finds those of clicks whose day was dropped.
  for (const credit of (await readCredits(connection, ids)).filter(isVisible)) {
    if (results.has(credit.clickId)) continue;
    if (isWanted(credit)) results.set(credit.clickId, { ...credit, result: 'already_credited' });
    else refuseOther(credit);
  }
  for (const other of await withNames(connection, ownerOf)) results.set(other.clickId, other);
  const [firstDay = Number.POSITIVE_INFINITY] = await listPartitionDays(connection, 'ledger');
  return ids.map((clickId) => {
    const isClosed = dayStart(uuidV7TimeMs(clickId)) < firstDay;
    return results.get(clickId) ?? { clickId, result: isClosed ? 'day_closed' : 'unknown' };
  });
}

/** The results of clicks of other advertisers than the one that was asked for. `ownerOf`: the ids of these by click. */
async function withNames(
  connection: Connection,
  ownerOf: ReadonlyMap<string, number>,
): Promise<(CreditResult & { result: 'other_advertiser' })[]> {
  const { advertisers } = await readNames(connection, [...ownerOf.values()], [], []);
  return [...ownerOf].map(([clickId, advertiserId]) => {
    const advertiserName = advertisers.get(advertiserId) ?? '';
    return { clickId, advertiserId, advertiserName, result: 'other_advertiser' };
  });
}

/** Why a click could not be credited, as the end of a sentence about it; `null` if it was credited, now or before. */
export function refusalOf(result: CreditResult): string | null {
  if (result.result === 'not_charged') {
    const outcome = result.reason ? `${result.outcome}: ${result.reason}` : result.outcome;
    return `it was not charged, its outcome is ${outcome}`;
  }
  if (result.result === 'other_advertiser')
    return `it is a click of advertiser ${result.advertiserId} (${result.advertiserName})`;
  if (result.result === 'unknown') return 'the ledger has no such click';
  if (result.result === 'day_closed')
    return `the ledger has no clicks of ${isoDay(uuidV7TimeMs(result.clickId))} any more`;
  return null;
}

type Click = OwnedClick & {
  readonly chargedMicros: bigint;
  readonly outcome: string;
  readonly reason: string | null;
};

async function readClicks(connection: Connection, ids: readonly string[]): Promise<Click[]> {
  const { rows } = await connection.query<Click>(
    `select click_id as "clickId", advertiser_id as "advertiserId", charged_micros as "chargedMicros", outcome::text, reason
     from ledger where click_id = any($1::uuid[])`,
    [uuidArray(ids)],
  );
  return rows;
}

async function readCredits(connection: Connection, ids: readonly string[]): Promise<CreditedClick[]> {
  const { rows } = await connection.query<CreditedClick>(
    `select click_id as "clickId", advertiser_id as "advertiserId", amount_micros as "amountMicros", currency
     from budget_entry join advertiser on advertiser.id = advertiser_id where click_id = any($1::uuid[])`,
    [uuidArray(ids)],
  );
  return rows;
}

/** Enters the credits of charged clicks, and returns those that were not entered before. */
async function enterCredits(
  connection: Connection,
  clicks: readonly Click[],
): Promise<(CreditedClick & { result: 'credited' })[]> {
  const owners = [...new Set(clicks.map((click) => click.advertiserId))];
  if (owners.length === 0) return [];
  const locked = await lockAdvertisers(connection, owners);
  const entered = await insertCredits(connection, clicks);
  const credits = clicks.filter(({ clickId }) => entered.has(clickId));
  if (credits.length > 0) {
    await raiseBudgets(connection, credits);
    await addCreditsToRollup(
      connection,
      credits.map(({ clickId }) => clickId),
    );
  }
  return credits.map(({ clickId, advertiserId, chargedMicros }) => ({
    ...{ clickId, advertiserId, result: 'credited', amountMicros: chargedMicros },
    currency: lockedOf(locked, advertiserId).currency,
  }));
}

function lockedOf(locked: ReadonlyMap<number, AdvertiserBalance>, id: number): AdvertiserBalance {
  const advertiser = locked.get(id);
  if (advertiser === undefined) throw unknownAdvertiser(id);
  return advertiser;
}

/** Inserts the budget entries of credits, and returns the ids of the clicks that had none. The caller holds the locks of the advertisers. */
async function insertCredits(connection: Connection, clicks: readonly Click[]): Promise<Set<string>> {
  const ordered = clicks.toSorted((a, b) => (a.clickId < b.clickId ? -1 : 1));
  const { rows } = await connection.query<{ clickId: string }>(
    `insert into budget_entry (advertiser_id, kind, amount_micros, reference, click_id)
     select advertiser_id, 'credit', amount_micros, reference, click_id
     from unnest($1::integer[], $2::bigint[], $3::text[], $4::uuid[]) credit (advertiser_id, amount_micros, reference, click_id)
     on conflict (advertiser_id, reference) do nothing returning click_id as "clickId"`,
    [
      arrayLiteral(ordered.map(({ advertiserId }) => advertiserId)),
      arrayLiteral(ordered.map(({ chargedMicros }) => chargedMicros)),
      ordered.map(({ clickId }) => creditReference(clickId)),
      uuidArray(ordered.map(({ clickId }) => clickId)),
    ],
  );
  return new Set(rows.map(({ clickId }) => clickId));
}

/** Adds credits to the budgets. The levels of `budget.low` stay: a credit gives back a charge. */
async function raiseBudgets(connection: Connection, credits: readonly Click[]): Promise<void> {
  const sums = new Map<number, bigint>();
  for (const { advertiserId, chargedMicros } of credits)
    sums.set(advertiserId, (sums.get(advertiserId) ?? 0n) + chargedMicros);
  await connection.query(
    `update advertiser set budget_micros = budget_micros + credit.micros
     from unnest($1::integer[], $2::bigint[]) credit (advertiser_id, micros) where id = credit.advertiser_id`,
    [arrayLiteral([...sums.keys()]), arrayLiteral([...sums.values()])],
  );
  await updateBudgetFlags(connection, [...sums.keys()]);
}
