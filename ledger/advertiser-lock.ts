import { TollwayError } from '../common/errors.ts';
import { type Connection, joinTransaction, type Pool } from '../common/postgres/postgres.ts';
import { BEGIN_CHARGE, lockAdvertisers } from './charge-locks.ts';

/**
 * Runs `change` in a transaction that holds the advertiser's row lock, until its end: the open one of a connection, which must have begun
 * with `BEGIN_CHARGE`, or one of its own. Throws `unknown_advertiser`.
 */
export function withAdvertiserLock<T>(
  database: Pool | Connection,
  advertiserId: number,
  change: (connection: Connection) => Promise<T>,
): Promise<T> {
  return joinTransaction(
    database,
    async (connection) => {
      const locked = await lockAdvertisers(connection, [advertiserId]);
      if (!locked.has(advertiserId)) throw unknownAdvertiser(advertiserId);
      return change(connection);
    },
    BEGIN_CHARGE,
  );
}

/** The error `unknown_advertiser`. */
export function unknownAdvertiser(id: number): TollwayError {
  return new TollwayError(
    'unknown_advertiser',
    `Expected the id of an advertiser in the database, got ${id}`,
  );
}
