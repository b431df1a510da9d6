import { TollwayError } from '../../common/errors.ts';
import { assertTimeInRange } from '../../common/parse-time.ts';
import type { Connection } from '../../common/postgres/postgres.ts';
import { singleRow } from '../../common/postgres/single-row.ts';
import { parseExternalId, parseName } from '../../common/text.ts';
import { inServerTimeZone } from '../server-time-zones.ts';
import type { Status } from '../status.ts';
import { changePlan, type DailyPlan } from './daily-plan.ts';

/** What can be set of a campaign. */
export type CampaignSettings = DailyPlan & {
  readonly name: string;
  /** The id that another system gave it, unique for the advertiser; `null` without one. */
  readonly externalId: string | null;
  readonly status: Status;
  /** The most that all its clicks together may cost; `null` without a cap. */
  readonly capMicros: bigint | null;
  /** Clicks before this time are `invalid: not_running`. */
  readonly startsAt: Date | null;
  /** Clicks at or after this time are `invalid: not_running`. */
  readonly endsAt: Date | null;
  readonly fallbackUrl: string | null;
};

/**
 * The settings of a campaign to change; absent fields keep their values, `null` removes one. A start or an end is a time, or a day
 * (`2026-01-31`), which means its beginning in the advertiser's time zone.
 */
export type CampaignChanges = Partial<Omit<CampaignSettings, 'startsAt' | 'endsAt'>> & {
  readonly startsAt?: Date | string | null;
  readonly endsAt?: Date | string | null;
};

/** The settings of a campaign that has only a name. */
export const DEFAULT_SETTINGS: Omit<CampaignSettings, 'name'> = {
  externalId: null,
  status: 'active',
  capMicros: null,
  startsAt: null,
  endsAt: null,
  fallbackUrl: null,
  dailyCapMicros: null,
  pacing: 'none',
  hold: false,
};

/** A campaign whose settings change; `id` is `null` for one that is created. */
type Subject = CampaignSettings & { readonly id: number | null; readonly advertiserId: number };

/**
 * Returns the settings of a campaign after changes. Call it under the advertiser's lock. Throws `bad_name`, `bad_external_id`,
 * `external_id_taken`, `bad_window` (an end that is not after the start), `bad_pacing`.
 */
export async function settingsAfter(
  connection: Connection,
  before: Subject,
  changes: CampaignChanges,
): Promise<CampaignSettings> {
  const { name, status, capMicros, fallbackUrl } = { ...before, ...changes };
  const subject = before.id === null ? 'the new campaign' : `campaign ${before.id}`;
  return {
    ...{ name: parseName(name), status, capMicros, fallbackUrl },
    externalId: await externalIdAfter(connection, before, changes),
    ...changePlan(subject, before, changes, fallbackUrl),
    ...(await periodOf(connection, before.advertiserId, { ...before, ...changes })),
  };
}

/** The settings of a campaign alone, without what it has spent. */
export function settingsOf(campaign: CampaignSettings): CampaignSettings {
  const { name, externalId, status, capMicros, startsAt, endsAt, fallbackUrl } = campaign;
  const { dailyCapMicros, pacing, hold } = campaign;
  return {
    ...{ name, externalId, status, capMicros, startsAt, endsAt, fallbackUrl },
    ...{ dailyCapMicros, pacing, hold },
  };
}

/** Whether two campaigns have the same settings. */
export function haveSameSettings(one: CampaignSettings, other: CampaignSettings): boolean {
  const keys = Object.keys(settingsOf(one)) as (keyof CampaignSettings)[];
  return keys.every((key) => comparable(one[key]) === comparable(other[key]));
}

function comparable(value: CampaignSettings[keyof CampaignSettings]) {
  return value instanceof Date ? value.getTime() : value;
}

async function externalIdAfter(
  connection: Connection,
  { id, advertiserId, externalId: before }: Subject,
  { externalId = before }: CampaignChanges,
): Promise<string | null> {
  if (externalId === null || externalId === before) return externalId;
  const parsed = parseExternalId(externalId);
  const { rows } = await connection.query<{ id: number; name: string }>(
    'select id, name from campaign where advertiser_id = $1 and external_id = $2 and id is distinct from $3::integer',
    [advertiserId, parsed, id],
  );
  const [taken] = rows;
  if (taken === undefined) return parsed;
  throw new TollwayError(
    'external_id_taken',
    `Expected an external id that no other campaign of advertiser ${advertiserId} has, got "${parsed}", which campaign ${taken.id} (${taken.name}) has`,
  );
}

/** The start and the end as times. Throws `bad_time`, and `bad_window` unless the end is after the start. */
async function periodOf(
  connection: Connection,
  advertiserId: number,
  { startsAt = null, endsAt = null }: CampaignChanges,
): Promise<{ startsAt: Date | null; endsAt: Date | null }> {
  const { rows } = await connection.query<{ timeZone: string }>(
    'select time_zone as "timeZone" from advertiser where id = $1',
    [advertiserId],
  );
  const { timeZone } = singleRow(rows);
  const start = await timeOf(connection, startsAt, timeZone);
  const end = await timeOf(connection, endsAt, timeZone);
  if (start !== null && end !== null && end <= start)
    throw new TollwayError(
      'bad_window',
      `Expected an end after the start, got the end ${end.toISOString()} and the start ${start.toISOString()}`,
    );
  return { startsAt: start, endsAt: end };
}

/**
 * A time, or a day as the time of its beginning in a time zone, computed by PostgreSQL as the days of reports are. Throws `bad_time` for one
 * outside of the years 1970 to 9999 of UTC, and `bad_time_zone` if PostgreSQL does not know the time zone.
 */
async function timeOf(
  connection: Connection,
  time: Date | string | null,
  timeZone: string,
): Promise<Date | null> {
  if (time === null) return null;
  const instant = typeof time === 'string' ? await startOfDay(connection, time, timeZone) : time;
  assertTimeInRange(instant, typeof time === 'string' ? `${time} in ${timeZone}` : time.toISOString());
  return instant;
}

async function startOfDay(connection: Connection, day: string, timeZone: string): Promise<Date> {
  const start = connection.query<{ time: Date }>('select day_start($1::date, $2) as time', [day, timeZone]);
  return singleRow((await inServerTimeZone(start)).rows).time;
}
