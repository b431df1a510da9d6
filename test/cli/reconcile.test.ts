import { afterEach, beforeEach, expect, it } from 'vitest';
import { createPostgresPublisher } from '../../brokers/postgres/publisher.ts';
import { chargeBatch } from '../support/charge-batch.ts';
import { addAccount, createTestDatabase, type TestDatabase } from '../support/database.ts';
import { type NamedAd, TestSpool } from '../support/records.ts';
import { tollwayHere } from '../support/run-here.ts';
import { suiteFolder } from '../support/temporary-folder.ts';

/** The exit codes of `tollway reconcile` on a database whose processor is stopped: what is published stays in flight. */

let database: TestDatabase & { drop: () => Promise<void> };
const folder = suiteFolder();
let ad: NamedAd;
let spool: TestSpool;
beforeEach(async () => {
  database = await createTestDatabase();
  ({ ad } = await addAccount(database.pool));
  spool = new TestSpool();
  await chargeBatch(
    database.pool,
    [1, 2, 3].map(() => spool.click({ ad })),
  );
});
afterEach(() => database.drop());

/** Runs the command as a script would. */
async function reconcile(...options: string[]) {
  const { KAFKA_BROKERS: _, BROKER: __, ...inherited } = process.env;
  const env = { ...inherited, DATABASE_URL: database.url, DATA_DIR: folder };
  const { code, stdout } = await tollwayHere(env, 'reconcile', ...options);
  return { code, said: stdout.trim().split('\n').at(-1) };
}

it('is 0 when every accepted click is settled', async () => {
  await chargeBatch(database.pool, [spool.watermark()]);
  expect(await reconcile('--settled')).toEqual({ code: 0, said: 'The books balance.' });
});

it('is 1 with --settled while clicks are in flight, and 0 without', async () => {
  await createPostgresPublisher(database.pool).publish([
    spool.click({ ad }),
    spool.click({ ad }),
    spool.watermark(),
  ]);
  expect(await reconcile()).toEqual({ code: 0, said: 'The books balance.' });
  expect(await reconcile('--settled')).toEqual({
    code: 1,
    said: 'The books balance; 2 clicks are still in flight.',
  });
});

it('is 1 when the last watermark lies above what the ledger and the broker know', async () => {
  spool.next();
  spool.next();
  await chargeBatch(database.pool, [spool.watermark()]);
  expect(await reconcile()).toEqual({
    code: 1,
    said: 'The books balance, but 2 accepted clicks are MISSING.',
  });
});

it('is 1 when the books do not balance', async () => {
  await database.pool.query('update advertiser set budget_micros = budget_micros + 1');
  expect(await reconcile()).toEqual({ code: 1, said: 'The books do NOT balance.' });
});
