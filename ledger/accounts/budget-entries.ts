import { TollwayError } from '../../common/errors.ts';
import { formatAmount } from '../../common/money.ts';
import type { Connection, Pool } from '../../common/postgres/postgres.ts';
import { singleRow } from '../../common/postgres/single-row.ts';
import { parseReference } from '../../common/text.ts';
import { uuidV7 } from '../../common/uuid.ts';
import { unknownAdvertiser, withAdvertiserLock } from '../advertiser-lock.ts';
import type { Page } from '../list-filter.ts';
import { addCreditsToRollup } from '../reports/rollup.ts';
import { ADVERTISER_COLUMNS, type Advertiser, readAdvertiser } from './advertisers.ts';
import { updateBudgetFlags } from './budget-flag.ts';
import { nextThreshold } from './low-budget.ts';

export type BudgetEntryKind = 'top_up' | 'adjustment';

/** One change of an advertiser's budget. The budget is the sum of its entries. */
export type BudgetEntry = {
  readonly id: bigint;
  readonly kind: BudgetEntryKind | 'credit';
  readonly amountMicros: bigint;
  readonly reference: string;
  /** The click that a credit refunds; `null` for the other kinds. */
  readonly clickId: string | null;
  readonly createdAt: Date;
};

const KIND_NAMES: Readonly<Record<BudgetEntry['kind'], string>> = {
  top_up: 'a top-up',
  adjustment: 'an adjustment',
  credit: 'a credit',
};

const ENTRY_COLUMNS = `id, kind, amount_micros as "amountMicros", reference, click_id as "clickId", created_at as "createdAt"`;

/** Which end of the budget entries a list begins with. `after` of a page is then the lowest or the highest id that it excludes. */
export type EntryOrder = { readonly newestFirst?: boolean };

/** Returns an advertiser's budget entries, oldest first unless `newestFirst`. Throws `unknown_advertiser`. */
export async function listBudgetEntries(
  database: Pool | Connection,
  advertiserId: number,
  { after, limit, newestFirst = false }: Page<bigint> & EntryOrder = {},
): Promise<BudgetEntry[]> {
  const { rows } = await database.query<BudgetEntry>(
    `select ${ENTRY_COLUMNS} from budget_entry where advertiser_id = $1 and ($2::bigint is null or id ${newestFirst ? '<' : '>'} $2)
     order by id ${newestFirst ? 'desc' : 'asc'} limit $3::bigint`,
    [advertiserId, after ?? null, limit ?? null],
  );
  if (rows.length === 0) {
    const { rowCount } = await database.query('select from advertiser where id = $1', [advertiserId]);
    if (rowCount === 0) throw unknownAdvertiser(advertiserId);
  }
  return rows;
}

/** A budget entry, and its advertiser after it. `entered: false`: the reference was used before, and nothing was added. */
export type EnteredBudget = {
  readonly entry: BudgetEntry;
  readonly advertiser: Advertiser;
  readonly entered: boolean;
};

/**
 * Adds an amount to an advertiser's budget, once for each `reference`. If the reference exists with the same kind and amount, it changes
 * nothing and returns `entered: false`, so a retry after a lost reply is safe. A negative amount must not exceed the remaining budget.
 * Throws `bad_amount` (0, or a top-up below 0), `bad_reference`, `unknown_advertiser`, `reference_taken` (another kind or amount),
 * `not_enough_budget`.
 */
export function addBudgetEntry(
  database: Pool | Connection,
  id: number,
  kind: BudgetEntryKind,
  amountMicros: bigint,
  reference: string = uuidV7(),
): Promise<EnteredBudget> {
  const entry = { kind, amountMicros, reference: parseReference(reference), clickId: null };
  return withAdvertiserLock(database, id, (connection) => insertBudgetEntry(connection, id, entry));
}

/** SQL that makes what remains after the entry, `$2` micros, the level of the thresholds of `budget.low`. */
const RESET_LEVEL = `, budget_level_micros = remaining_micros + $2,
       low_budget_micros = ${nextThreshold('remaining_micros + $2', 'remaining_micros + $2')}`;

async function insertBudgetEntry(
  connection: Connection,
  id: number,
  { kind, amountMicros, reference, clickId }: Omit<BudgetEntry, 'id' | 'createdAt'>,
): Promise<EnteredBudget> {
  assertAmount(kind, amountMicros);
  const { rows: before } = await connection.query<BudgetEntry>(
    `select ${ENTRY_COLUMNS} from budget_entry where advertiser_id = $1 and reference = $2`,
    [id, reference],
  );
  const [existing] = before;
  if (existing && (existing.amountMicros !== amountMicros || existing.kind !== kind)) {
    const { currency } = await readAdvertiser(connection, id);
    const used = `${KIND_NAMES[existing.kind]} of ${formatAmount(existing.amountMicros)} ${currency}`;
    throw new TollwayError('reference_taken', `Reference "${reference}" was already used for ${used}`);
  }
  if (existing) return { entry: existing, advertiser: await readAdvertiser(connection, id), entered: false };
  if (amountMicros < 0n) await assertCovered(connection, id, -amountMicros);
  const { rows: added } = await connection.query<BudgetEntry>(
    `insert into budget_entry (advertiser_id, kind, amount_micros, reference, click_id) values ($1, $2, $3, $4, $5) returning ${ENTRY_COLUMNS}`,
    [id, kind, amountMicros, reference, clickId],
  );
  const { rows } = await connection.query<Advertiser>(
    // A credit gives back a charge: the level and its thresholds stay.
    `update advertiser set budget_micros = budget_micros + $2${kind === 'credit' ? '' : RESET_LEVEL}
     where id = $1 returning ${ADVERTISER_COLUMNS}`,
    [id, amountMicros],
  );
  await updateBudgetFlags(connection, [id]);
  return { entry: singleRow(added), advertiser: singleRow(rows), entered: true };
}

/** Throws `bad_amount` for 0, and for a top-up below 0. */
function assertAmount(kind: BudgetEntry['kind'], micros: bigint): void {
  if (kind === 'top_up' ? micros > 0n : micros !== 0n) return;
  const expected = kind === 'top_up' ? 'a top-up above 0' : 'an amount other than 0';
  throw new TollwayError('bad_amount', `Expected ${expected}, got ${formatAmount(micros)}`);
}

/**
 * Throws `not_enough_budget` if less than `micros` remains. The caller holds the advertiser's lock, so the result holds until the commit.
 */
async function assertCovered(connection: Connection, id: number, micros: bigint): Promise<void> {
  const { rows } = await connection.query<{ remaining: bigint }>(
    'select remaining_micros as remaining from advertiser where id = $1',
    [id],
  );
  const { remaining } = singleRow(rows);
  if (remaining >= micros) return;
  const message = `Expected to take at most ${formatAmount(remaining)}, the remaining budget of advertiser ${id}; got ${formatAmount(micros)}`;
  throw new TollwayError('not_enough_budget', message);
}

/** The reference of the credit of a click. References of people cannot begin so, and each is unique: no click is credited twice. */
export function creditReference(clickId: string): string {
  return `credit ${clickId}`;
}

/** A credit of a click, and its advertiser after it. `entered: false`: the click was credited before, and nothing was added. */
export type EnteredCredit = {
  readonly advertiser: Advertiser;
  readonly entered: boolean;
  readonly amountMicros: bigint;
};

/**
 * Refunds the charge of a click, once, as a budget entry of kind `credit`. The click keeps its row in the ledger. A click that was credited
 * before its day was dropped counts as credited. Clicks of other advertisers than `advertiserIds` count as unknown; `null`: none do. Throws
 * `unknown_click`, `not_charged`, and `bad_time_zone` if the database server does not know the time zone of the advertiser.
 */
export async function creditClick(
  database: Pool | Connection,
  clickId: string,
  advertiserIds: readonly number[] | null = null,
): Promise<EnteredCredit> {
  const { rows } = await database.query<{
    advertiser_id: number;
    charged_micros: bigint;
    outcome: string;
    reason: string | null;
  }>('select advertiser_id, charged_micros, outcome, reason from ledger where click_id = $1', [clickId]);
  const [click] = rows;
  if (!click || !(advertiserIds?.includes(click.advertiser_id) ?? true))
    return readCredit(database, clickId, advertiserIds);
  if (click.outcome !== 'charged') {
    const outcome = click.reason ? `${click.outcome}: ${click.reason}` : click.outcome;
    throw new TollwayError('not_charged', `Click ${clickId} was not charged: its outcome is ${outcome}`);
  }
  const amountMicros = click.charged_micros;
  const entry = { kind: 'credit', amountMicros, reference: creditReference(clickId), clickId } as const;
  const { advertiser, entered } = await withAdvertiserLock(
    database,
    click.advertiser_id,
    async (connection) => {
      const result = await insertBudgetEntry(connection, click.advertiser_id, entry);
      if (result.entered) await addCreditsToRollup(connection, [clickId]);
      return result;
    },
  );
  return { advertiser, entered, amountMicros };
}

/** The credit of a click that the ledger does not have, or not for the caller. Throws `unknown_click`, with the same queries in both cases. */
async function readCredit(
  database: Pool | Connection,
  clickId: string,
  advertiserIds: readonly number[] | null,
): Promise<EnteredCredit> {
  const { rows } = await database.query<{ advertiserId: number; amountMicros: bigint }>(
    `select advertiser_id as "advertiserId", amount_micros as "amountMicros" from budget_entry
     where click_id = $1 and ($2::integer[] is null or advertiser_id = any($2))`,
    [clickId, advertiserIds],
  );
  const [credit] = rows;
  if (!credit) throw new TollwayError('unknown_click', `The ledger has no click ${clickId}`);
  const advertiser = await readAdvertiser(database, credit.advertiserId);
  return { advertiser, entered: false, amountMicros: credit.amountMicros };
}
