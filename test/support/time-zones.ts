import type { Pool } from '../../common/postgres/postgres.ts';

/** Node has kept this name; tzdata 2020b removed it. */
export const GONE = 'US/Pacific-New';

/** Gives an advertiser a time zone that the server may not know, as a move of the database to another server does. */
export async function moveToTimeZone(pool: Pool, advertiserId: number, timeZone: string): Promise<void> {
  await pool.query('alter table advertiser disable trigger check_time_zone');
  await pool.query('update advertiser set time_zone = $2 where id = $1', [advertiserId, timeZone]);
}
