import type { Connection, Pool } from '../../common/postgres/postgres.ts';
import { prepared } from '../../common/postgres/prepared.ts';
import { singleRow } from '../../common/postgres/single-row.ts';
import { parseName } from '../../common/text.ts';
import { parseTimeZone } from '../../common/time-zone.ts';
import { unknownAdvertiser, withAdvertiserLock } from '../advertiser-lock.ts';
import type { ClickFilter } from '../click-filter.ts';
import { type ListFilter, listCondition } from '../list-filter.ts';
import { inServerTimeZone } from '../server-time-zones.ts';
import type { Status } from '../status.ts';
import { notifyAdsChanged } from './budget-flag.ts';
import { nextThreshold, parsePercents } from './low-budget.ts';

export type Advertiser = {
  readonly id: number;
  readonly name: string;
  readonly currency: string;
  /** IANA name, such as `Europe/Berlin`. Days of reports begin at its midnight. */
  readonly timeZone: string;
  readonly status: Status;
  readonly budgetMicros: bigint;
  readonly spentMicros: bigint;
  readonly remainingMicros: bigint;
  /** The shares of the level at which `budget.low` is sent, in percent, descending. The level is what remained after the latest top-up or adjustment. */
  readonly lowBudgetPercents: readonly number[];
};

/** Columns of `advertiser` for a `select` or `returning`, with the field names of `Advertiser`. */
export const ADVERTISER_COLUMNS = `id, name, currency, time_zone as "timeZone", status, budget_micros as "budgetMicros", spent_micros as "spentMicros",
  remaining_micros as "remainingMicros", low_budget_percents as "lowBudgetPercents"`;

/**
 * Creates an advertiser with an empty budget. `currency` is three capital letters, such as USD; `timeZone` an IANA name, for good.
 * `isTest` marks an advertiser of a load test: lists, metrics and alerts leave it out. Throws `bad_name`, `bad_time_zone`.
 */
export async function addAdvertiser(
  database: Pool | Connection,
  name: string,
  currency: string,
  timeZone = 'UTC',
  isTest = false,
): Promise<Advertiser> {
  // A constraint of the table computes in the time zone.
  const { rows } = await inServerTimeZone(
    database.query<Advertiser>(
      `insert into advertiser (name, currency, time_zone, is_test) values ($1, $2, $3, $4) returning ${ADVERTISER_COLUMNS}`,
      [parseName(name), currency, parseTimeZone(timeZone), isTest],
    ),
  );
  return singleRow(rows);
}

/** Returns the advertisers of a filter, ordered by id. */
export async function listAdvertisers(
  database: Pool | Connection,
  filter: Omit<ListFilter, keyof ClickFilter | 'externalId'> = {},
): Promise<Advertiser[]> {
  const { condition, page, values } = listCondition(['advertiser'], filter);
  const { rows } = await database.query<Advertiser>(
    prepared(`select ${ADVERTISER_COLUMNS} from advertiser where ${condition} ${page}`, values),
  );
  return rows;
}

/** Returns an advertiser. Throws `unknown_advertiser`. */
export async function readAdvertiser(database: Pool | Connection, id: number): Promise<Advertiser> {
  const { rows } = await database.query<Advertiser>(
    prepared(`select ${ADVERTISER_COLUMNS} from advertiser where id = $1`, [id]),
  );
  const [advertiser] = rows;
  if (!advertiser) throw unknownAdvertiser(id);
  return advertiser;
}

/** The fields of an advertiser to set; absent fields keep their values. */
export type AdvertiserChanges = {
  readonly name?: string | undefined;
  readonly status?: Status | undefined;
  /** As `setLowBudget`. */
  readonly lowBudgetPercents?: readonly number[] | undefined;
};

/** Changes an advertiser. A status other than `active` pauses all its ads. Throws `bad_name`, `bad_thresholds`, `unknown_advertiser`. */
export function updateAdvertiser(
  database: Pool | Connection,
  id: number,
  { name, status, lowBudgetPercents }: AdvertiserChanges,
): Promise<Advertiser> {
  return withAdvertiserLock(database, id, async (connection) => {
    const { rows } = await connection.query<Advertiser>(
      `update advertiser set name = coalesce($2, name), status = coalesce($3, status) where id = $1 returning ${ADVERTISER_COLUMNS}`,
      [id, name === undefined ? null : parseName(name), status ?? null],
    );
    if (status !== undefined) await notifyAdsChanged(connection, id);
    if (lowBudgetPercents !== undefined) return setLowBudget(connection, id, lowBudgetPercents);
    return singleRow(rows);
  });
}

/** Pauses, resumes or archives an advertiser and so all its ads. Throws `unknown_advertiser`. */
export function setAdvertiserStatus(
  database: Pool | Connection,
  id: number,
  status: Status,
): Promise<Advertiser> {
  return updateAdvertiser(database, id, { status });
}

/** Renames an advertiser. Throws `bad_name`, `unknown_advertiser`. */
export function renameAdvertiser(database: Pool | Connection, id: number, name: string): Promise<Advertiser> {
  return updateAdvertiser(database, id, { name });
}

/**
 * Replaces the thresholds of `budget.low`. Those that the remaining budget has reached already are no events until the next top-up or
 * adjustment. Throws `bad_thresholds` (not at most 10 different whole percentages of 1–99), `unknown_advertiser`.
 */
export async function setLowBudget(
  database: Pool | Connection,
  id: number,
  percents: readonly number[],
): Promise<Advertiser> {
  const sorted = parsePercents(percents);
  return withAdvertiserLock(database, id, async (connection) => {
    await connection.query('update advertiser set low_budget_percents = $2 where id = $1', [id, sorted]);
    const { rows } = await connection.query<Advertiser>(
      `update advertiser set low_budget_micros = ${nextThreshold('budget_level_micros', 'remaining_micros')}
       where id = $1 returning ${ADVERTISER_COLUMNS}`,
      [id],
    );
    return singleRow(rows);
  });
}
