import { TollwayError } from '../../common/errors.ts';
import { type Connection, inTransaction, type Pool } from '../../common/postgres/postgres.ts';
import { printable } from '../../common/text.ts';
import { unknownAdvertiser } from '../advertiser-lock.ts';
import { inServerTimeZone } from '../server-time-zones.ts';
import type { BudgetEntryKind } from './budget-entries.ts';

/** A top-up or an adjustment on a statement. */
export type StatementEntry = {
  readonly at: Date;
  readonly kind: BudgetEntryKind;
  /** Negative if the budget was lowered. */
  readonly amountMicros: bigint;
  readonly reference: string;
};

/** The charged clicks of an ad. */
export type StatementCharge = {
  readonly campaignId: number;
  readonly campaignName: string;
  readonly adId: number;
  /** `null` for an ad without a name. */
  readonly adName: string | null;
  readonly clicks: bigint;
  readonly amountMicros: bigint;
};

/** The credits of a month for clicks of one month. */
export type StatementCredit = {
  /** The month of the clicks, such as `2026-10`. */
  readonly month: string;
  readonly clicks: bigint;
  readonly amountMicros: bigint;
};

/** A month of an advertiser. Amounts in micros of its currency: opening + entries − charges + credits = closing. */
export type Statement = {
  readonly advertiserId: number;
  readonly advertiserName: string;
  /** Such as `2026-11`. */
  readonly month: string;
  readonly timeZone: string;
  readonly currency: string;
  /** Everything that was settled or entered before this time is in the statement, and nothing else. */
  readonly asOf: Date;
  readonly openingMicros: bigint;
  readonly entries: readonly StatementEntry[];
  readonly charges: readonly StatementCharge[];
  readonly credits: readonly StatementCredit[];
  readonly closingMicros: bigint;
  /** All clicks of the month but rejected ones. */
  readonly gross: bigint;
  readonly invalid: readonly { readonly reason: string; readonly clicks: bigint }[];
  /** Gross clicks without invalid ones: charged and over budget. */
  readonly net: bigint;
};

/**
 * Reads the statement of a month, such as `2026-11`, in the advertiser's time zone. A charge and a gross click belong to the day of the
 * click, an entry and a credit to the time at which they were entered. A month before the advertiser existed is a statement of zeros.
 * Call `rollUp` before, so that `asOf` is now. Throws `unknown_advertiser`, `bad_time_zone`, and `bad_time` for a month in the future.
 */
export function readStatement(pool: Pool, advertiserId: number, month: string): Promise<Statement> {
  // One snapshot, so that all sums are those of `asOf`.
  return inTransaction(
    pool,
    (connection) => readStatementIn(connection, advertiserId, month),
    'begin isolation level repeatable read, read only',
  );
}

async function readStatementIn(
  connection: Connection,
  advertiserId: number,
  month: string,
): Promise<Statement> {
  const advertiser = await inServerTimeZone(readAdvertiser(connection, advertiserId, month));
  const period: Period = { advertiserId, ...advertiser, firstDay: `${month}-01` };
  const openingMicros = await readOpening(connection, period);
  const entries = await readEntries(connection, period);
  const charges = await readCharges(connection, period);
  const credits = await readCredits(connection, period);
  const { gross, invalid } = await readClicks(connection, period);
  const closingMicros = openingMicros + sumOf(entries) - sumOf(charges) + sumOf(credits);
  const net = invalid.reduce((left, { clicks }) => left - clicks, gross);
  const { advertiserName, timeZone, currency, asOf } = advertiser;
  const sums = { openingMicros, entries, charges, credits, closingMicros, gross, invalid, net };
  return { advertiserId, advertiserName, month, timeZone, currency, asOf, ...sums };
}

function sumOf(rows: readonly { readonly amountMicros: bigint }[]): bigint {
  return rows.reduce((sum, { amountMicros }) => sum + amountMicros, 0n);
}

type Advertiser = {
  readonly advertiserName: string;
  readonly timeZone: string;
  readonly currency: string;
  readonly asOf: Date;
};

async function readAdvertiser(connection: Connection, id: number, month: string): Promise<Advertiser> {
  const { rows } = await connection.query<Advertiser & { thisMonth: string }>(
    `select name as "advertiserName", time_zone as "timeZone", currency, rolled_to as "asOf",
       to_char(statement_timestamp() at time zone time_zone, 'YYYY-MM') as "thisMonth"
     from advertiser, click_rollup_state where id = $1`,
    [id],
  );
  const [row] = rows;
  if (!row) throw unknownAdvertiser(id);
  const { thisMonth, ...advertiser } = row;
  if (month > thisMonth)
    throw new TollwayError(
      'bad_time',
      `Expected a month up to ${thisMonth}, the current one in ${advertiser.timeZone}, got ${month}`,
    );
  return advertiser;
}

type Period = {
  readonly advertiserId: number;
  readonly timeZone: string;
  readonly asOf: Date;
  /** Such as `2026-11-01`. */
  readonly firstDay: string;
};

/**
 * SQL: the entries of the advertiser `$1` that were entered before `$2`, with their day in the time zone `$3`. The day decides the month, as
 * it does for clicks: where clocks are set back at midnight, the first instant of a day is ambiguous, and its day is not.
 */
const ENTRIES = `(select *, (created_at at time zone $3)::date as day from budget_entry where advertiser_id = $1 and created_at < $2) entry`;

async function readOpening(connection: Connection, period: Period): Promise<bigint> {
  const { rows } = await connection.query<{ micros: bigint }>(
    `select (
       coalesce((select sum(amount_micros) from ${ENTRIES} where day < $4), 0)
       - coalesce((select sum(charged_micros) from click_rollup_day where advertiser_id = $1 and day < $4), 0)
     )::bigint as micros`,
    parametersOf(period),
  );
  return rows[0]?.micros ?? 0n;
}

function parametersOf({ advertiserId, asOf, timeZone, firstDay }: Period): unknown[] {
  return [advertiserId, asOf, timeZone, firstDay];
}

async function readEntries(connection: Connection, period: Period): Promise<StatementEntry[]> {
  const { rows } = await connection.query<StatementEntry>(
    `select created_at as at, kind, amount_micros as "amountMicros", reference
     from ${ENTRIES} where day >= $4 and day < $4::date + interval '1 month' and kind <> 'credit' order by id`,
    parametersOf(period),
  );
  return rows;
}

async function readCredits(connection: Connection, period: Period): Promise<StatementCredit[]> {
  // The ledger may have dropped the click, but its id has its time: the first 48 bits are Unix ms.
  const clickedAt = `to_timestamp(('x' || left(replace(click_id::text, '-', ''), 12))::bit(48)::bigint / 1000.0)`;
  const { rows } = await connection.query<StatementCredit>(
    `select to_char(${clickedAt} at time zone $3, 'YYYY-MM') as month, count(*) as clicks,
       sum(amount_micros)::bigint as "amountMicros"
     from ${ENTRIES} where day >= $4 and day < $4::date + interval '1 month' and kind = 'credit' group by 1 order by 1`,
    parametersOf(period),
  );
  return rows;
}

/** SQL: the rows of the advertiser `$1` for the month that begins at `$2`. */
const ROLLUP = `click_rollup_day rollup
  where rollup.advertiser_id = $1 and day >= $2 and day < $2::date + interval '1 month'`;

async function readCharges(
  connection: Connection,
  { advertiserId, firstDay }: Period,
): Promise<StatementCharge[]> {
  const { rows } = await connection.query<StatementCharge>(
    `select charge.*, campaign.name as "campaignName", ad.name as "adName" from (
       select campaign_id as "campaignId", ad_id as "adId", sum(clicks)::bigint as clicks, sum(charged_micros)::bigint as "amountMicros"
       from ${ROLLUP} and outcome = 'charged' group by 1, 2 having sum(clicks) > 0
     ) charge join campaign on campaign.id = "campaignId" left join ad on ad.id = "adId" order by "campaignId", "adId"`,
    [advertiserId, firstDay],
  );
  return rows;
}

async function readClicks(
  connection: Connection,
  { advertiserId, firstDay }: Period,
): Promise<Pick<Statement, 'gross' | 'invalid'>> {
  const { rows } = await connection.query<{ outcome: string; reason: string; clicks: bigint }>(
    `select outcome::text, reason, sum(clicks)::bigint as clicks from ${ROLLUP}
     group by 1, 2 having sum(clicks) > 0 order by 1, 2`,
    [advertiserId, firstDay],
  );
  return {
    gross: rows.reduce((sum, { clicks }) => sum + clicks, 0n),
    invalid: rows
      .filter(({ outcome }) => outcome === 'invalid')
      .map(({ reason, clicks }) => ({ reason, clicks })),
  };
}

/** Reads a month such as `2026-11`. Throws `bad_time`. */
export function parseMonth(text: string): string {
  if (/^(19[7-9]|[2-9]\d\d)\d-(0[1-9]|1[0-2])$/.test(text)) return text;
  throw new TollwayError('bad_time', `Expected a month such as 2026-11, got "${printable(text)}"`);
}
