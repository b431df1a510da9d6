import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { join } from 'node:path';
import { postgresBacklog } from '../../brokers/postgres/backlog.ts';
import { startEmbeddedPostgres } from '../../cli/start/embedded-postgres.ts';
import { createPool, type Pool } from '../../common/postgres/postgres.ts';
import { reconcile } from '../../ledger/reconciliation/reconcile.ts';
import { migrate } from '../../migrations/migrate.ts';
import type { BenchContext } from './bench.ts';
import { makeAdvertisers } from './charge-data.ts';

const RETENTION = { clickAgeDays: 14, linkLifeDays: 90, evidenceDays: 90 };
export const ADVERTISERS = 1_000;

/** A database for benchmarks of functions, with 1 000 advertisers. */
export type FunctionDatabase = {
  readonly pool: Pool;
  readonly url: string;
  /** A URL for connections whose statements the server times (`log_duration`). */
  readonly timedUrl: string;
  /** Server time of the statements of timed connections since the last call, in ms. Throws if there were none. */
  readonly takeServerMs: () => number;
  /** Throws unless a deep reconciliation balances and the ledger has `clicks` clicks. */
  readonly assertBalanced: (clicks: number) => Promise<void>;
};

/** Starts a PostgreSQL and prepares a database for functions in it. */
export async function openFunctionDatabase({ resources, logger }: BenchContext): Promise<FunctionDatabase> {
  const folder = resources.folder();
  const postgres = await startEmbeddedPostgres(folder, logger);
  resources.add({ name: 'PostgreSQL', close: () => postgres.stop() });
  await migrate(postgres.url, RETENTION, logger);
  const pool = createPool(postgres.url, 'bench', 1, () => {});
  resources.add({ name: 'connections', close: () => pool.end() });
  await makeAdvertisers(pool, ADVERTISERS);
  await pool.query('analyze');
  const log = openSync(join(folder, 'postgres', 'server.log'), 'r');
  resources.add({ name: 'server log', close: () => closeSync(log) });
  let read = fstatSync(log).size;
  return {
    pool,
    url: postgres.url,
    timedUrl: `${postgres.url}?options=${encodeURIComponent('-c log_duration=on')}`,
    takeServerMs: () => {
      const text = Buffer.alloc(fstatSync(log).size - read);
      read += readSync(log, text, 0, text.length, read);
      const durations = [...text.toString().matchAll(/ LOG: {2}duration: (\d+\.\d+) ms$/gm)];
      if (durations.length === 0)
        throw new Error('Expected durations of statements in the log of PostgreSQL, got none');
      return durations.reduce((sum, [, ms]) => sum + Number(ms), 0);
    },
    assertBalanced: async (clicks) => {
      const { balanced, missing, problems } = await reconcile(pool, {
        brokers: [postgresBacklog],
        deep: true,
      });
      const { rows } = await pool.query<{ found: number }>('select count(*)::float8 as found from ledger');
      const found = rows[0]?.found;
      if (!balanced || missing > 0 || found !== clicks)
        throw new Error(
          `Expected books that balance with ${clicks} clicks, got ${found}, ${missing} missing: ${problems.join('; ')}`,
        );
    },
  };
}
