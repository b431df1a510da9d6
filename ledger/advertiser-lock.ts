import { TollwayError } from '../common/errors.ts';
import { type Connection, inTransaction, type Pool } from '../common/postgres/postgres.ts';
import { BEGIN_CHARGE, lockAdvertisers } from './store.ts';

/** Runs a change of an advertiser's things in a transaction that holds its lock. Throws `unknown_advertiser`. */
export function withAdvertiserLock<T>(
  pool: Pool,
  advertiserId: number,
  change: (connection: Connection) => Promise<T>,
): Promise<T> {
  return inTransaction(
    pool,
    async (connection) => {
      const locked = await lockAdvertisers(connection, [advertiserId]);
      if (!locked.has(advertiserId)) throw unknownAdvertiser(advertiserId);
      return change(connection);
    },
    BEGIN_CHARGE,
  );
}

/** The row of an answer that has exactly one. */
export function singleRow<T>(rows: readonly T[]): T {
  const [row] = rows;
  if (!row) throw new Error('Expected a row');
  return row;
}

export function unknownAdvertiser(id: number): TollwayError {
  return new TollwayError(
    'unknown_advertiser',
    `Expected the id of an advertiser in the database, got ${id}`,
  );
}
