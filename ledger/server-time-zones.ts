import { errorCode, errorMessage, TollwayError } from '../common/errors.ts';
import type { Connection } from '../common/postgres/postgres.ts';

/** SQLSTATE `invalid_parameter_value`: PostgreSQL does not know the time zone of an `at time zone`. */
const INVALID_PARAMETER_VALUE = '22023';

/**
 * Waits for a statement that computes in a time zone. Throws `bad_time_zone` if the database server does not know the zone. Node and PostgreSQL
 * have time zones of their own: a server without Debian's package tzdata-legacy lacks names such as `America/Buenos_Aires`.
 */
export async function inServerTimeZone<T>(statement: Promise<T>): Promise<T> {
  try {
    return await statement;
  } catch (error) {
    if (errorCode(error) !== INVALID_PARAMETER_VALUE) throw error;
    throw new TollwayError(
      'bad_time_zone',
      `Expected a time zone that the database server knows, got its error: ${errorMessage(error)}. Use the present name of the zone, or install the time zones that the server lacks (Debian and Ubuntu: tzdata-legacy)`,
      { cause: error },
    );
  }
}

/** Returns the ids of the advertisers whose time zone the database server does not know. */
export async function listUnknownZoneAdvertisers(connection: Connection): Promise<number[]> {
  // `known_day` is computed once for each zone: it begins a subtransaction.
  const { rows } = await connection.query<{ id: number }>(
    `select id from advertiser join (select distinct time_zone from advertiser offset 0) zone using (time_zone)
     where known_day(now(), time_zone) is null order by id`,
  );
  return rows.map(({ id }) => id);
}
