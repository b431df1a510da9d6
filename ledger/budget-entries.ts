import { TollwayError } from '../common/errors.ts';
import { formatAmount } from '../common/money.ts';
import type { Connection, Pool } from '../common/postgres/postgres.ts';
import { parseReference } from '../common/text.ts';
import { uuidV7 } from '../common/uuid.ts';
import { singleRow, unknownAdvertiser, withAdvertiserLock } from './advertiser-lock.ts';
import { ADVERTISER_COLUMNS, type Advertiser } from './advertisers.ts';
import { updateBudgetFlags } from './budget-flag.ts';

export type BudgetEntryKind = 'top_up' | 'adjustment';

/** One change of an advertiser's budget. */
export type BudgetEntry = {
  readonly id: bigint;
  readonly kind: BudgetEntryKind | 'credit';
  readonly amountMicros: bigint;
  readonly reference: string;
  /** The click whose charge a credit gives back; `null` for the other kinds. */
  readonly clickId: string | null;
  readonly createdAt: Date;
};

/** The changes of an advertiser's budget, in the order in which they were entered. Throws `unknown_advertiser`. */
export async function listBudgetEntries(pool: Pool, advertiserId: number): Promise<BudgetEntry[]> {
  const { rows } = await pool.query<BudgetEntry>(
    `select id, kind, amount_micros as "amountMicros", reference, click_id as "clickId", created_at as "createdAt"
     from budget_entry where advertiser_id = $1 order by id`,
    [advertiserId],
  );
  if (rows.length === 0) {
    const { rowCount } = await pool.query('select from advertiser where id = $1', [advertiserId]);
    if (rowCount === 0) throw unknownAdvertiser(advertiserId);
  }
  return rows;
}

/**
 * Enters an amount into an advertiser's budget, once for each reference: with one that has entered before it
 * changes nothing (`entered` is false), so a retry after a lost reply is safe. A negative amount has to be covered by
 * what remains. Throws `bad_reference`, `unknown_advertiser`, `reference_taken` (by another amount), `not_enough_budget`.
 */
export function addBudgetEntry(
  pool: Pool,
  id: number,
  kind: BudgetEntryKind,
  amountMicros: bigint,
  reference: string = uuidV7(),
): Promise<{ advertiser: Advertiser; entered: boolean; reference: string }> {
  const entry = { kind, amountMicros, reference: parseReference(reference), clickId: null };
  return withAdvertiserLock(pool, id, (connection) => insertBudgetEntry(connection, id, entry));
}

async function insertBudgetEntry(
  connection: Connection,
  id: number,
  { kind, amountMicros, reference, clickId }: Omit<BudgetEntry, 'id' | 'createdAt'>,
): Promise<{ advertiser: Advertiser; entered: boolean; reference: string }> {
  if (amountMicros === 0n) throw new TollwayError('bad_amount', 'Expected an amount other than 0, got 0.00');
  const { rows: before } = await connection.query<{ kind: string; amount_micros: bigint }>(
    'select kind, amount_micros from budget_entry where advertiser_id = $1 and reference = $2',
    [id, reference],
  );
  const [known] = before;
  if (known && (known.amount_micros !== amountMicros || known.kind !== kind)) {
    throw new TollwayError(
      'reference_taken',
      `Reference "${reference}" was already used for a ${known.kind} of ${formatAmount(known.amount_micros)}`,
    );
  }
  if (known) {
    const { rows } = await connection.query<Advertiser>(
      `select ${ADVERTISER_COLUMNS} from advertiser where id = $1`,
      [id],
    );
    return { advertiser: singleRow(rows), entered: false, reference };
  }
  if (amountMicros < 0n) await assertCovered(connection, id, -amountMicros);
  await connection.query(
    'insert into budget_entry (advertiser_id, kind, amount_micros, reference, click_id) values ($1, $2, $3, $4, $5)',
    [id, kind, amountMicros, reference, clickId],
  );
  const { rows } = await connection.query<Advertiser>(
    `update advertiser set budget_micros = budget_micros + $2 where id = $1 returning ${ADVERTISER_COLUMNS}`,
    [id, amountMicros],
  );
  await updateBudgetFlags(connection, [id]);
  return { advertiser: singleRow(rows), entered: true, reference };
}

/** Throws `not_enough_budget` if less than `micros` remains. The caller holds the advertiser's lock, so this cannot change before it commits. */
async function assertCovered(connection: Connection, id: number, micros: bigint): Promise<void> {
  const { rows } = await connection.query<{ remaining: bigint }>(
    'select remaining_micros as remaining from advertiser where id = $1',
    [id],
  );
  const { remaining } = singleRow(rows);
  if (remaining >= micros) return;
  const message = `Expected to take at most ${formatAmount(remaining)}, what remains of the budget of advertiser ${id}; got ${formatAmount(micros)}`;
  throw new TollwayError('not_enough_budget', message);
}

/**
 * Gives back what a click was charged, once. The click keeps its row: the credit is an entry of the budget.
 * Throws `unknown_click`, `not_charged`.
 */
export async function creditClick(
  pool: Pool,
  clickId: string,
): Promise<{ advertiser: Advertiser; entered: boolean; amountMicros: bigint }> {
  const { rows } = await pool.query<{
    advertiser_id: number;
    charged_micros: bigint;
    outcome: string;
    reason: string | null;
  }>('select advertiser_id, charged_micros, outcome, reason from ledger where click_id = $1', [clickId]);
  const [click] = rows;
  if (!click) throw new TollwayError('unknown_click', `The ledger has no click ${clickId}`);
  if (click.outcome !== 'charged') {
    const came = click.reason ? `${click.outcome}: ${click.reason}` : click.outcome;
    throw new TollwayError('not_charged', `Click ${clickId} was not charged: it is ${came}`);
  }
  const amountMicros = click.charged_micros;
  const entry = { kind: 'credit', amountMicros, reference: `credit ${clickId}`, clickId } as const;
  const { advertiser, entered } = await withAdvertiserLock(pool, click.advertiser_id, (connection) =>
    insertBudgetEntry(connection, click.advertiser_id, entry),
  );
  return { advertiser, entered, amountMicros };
}
