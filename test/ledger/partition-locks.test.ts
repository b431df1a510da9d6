import { expect, it } from 'vitest';
import { beginCheckpoints, moveCheckpoints } from '../../brokers/checkpoints.ts';
import { postgresBacklog } from '../../brokers/postgres/backlog.ts';
import { createPool, inTransaction } from '../../common/postgres/postgres.ts';
import { DAY_MS } from '../../common/unix-time.ts';
import { uuidV7 } from '../../common/uuid.ts';
import { readClickStory } from '../../ledger/clicks/click-story.ts';
import { exportLedger } from '../../ledger/clicks/export.ts';
import { reconcile } from '../../ledger/reconciliation/reconcile.ts';
import { quarantine } from '../../processor/charge/quarantine.ts';
import { chargeBatch } from '../support/charge-batch.ts';
import { addAccount, testDatabase } from '../support/database.ts';
import { clickRecord, unreadableRecord } from '../support/records.ts';

const database = testDatabase();

/** SQL: number of days of which the transaction has locked the partition of the ledger or an index of it. */
const LOCKED_DAYS = `select count(distinct substring(relation::regclass::text from '^ledger_(\\d{8})'))::int as days
  from pg_locks where pid = pg_backend_pid() and relation::regclass::text like 'ledger\\_2%'`;

/** Returns the most days that a transaction of `act` has locked at once, counted before each commit, rollback or rollback to a savepoint. */
async function mostDaysLocked(act: (pool: typeof database.pool) => Promise<unknown>): Promise<number> {
  const pool = createPool(database.url, 'test', 1, () => undefined);
  let most = 0;
  pool.on('connect', (client) => {
    const query = client.query.bind(client) as (...args: unknown[]) => Promise<unknown>;
    const watched = async (text: unknown, ...rest: unknown[]) => {
      if (typeof text === 'string' && /^(commit|rollback)/.test(text)) {
        const { rows } = (await query(LOCKED_DAYS)) as { rows: { days: number }[] };
        most = Math.max(most, rows[0]?.days ?? 0);
      }
      return query(text, ...rest);
    };
    // `COPY` streams are passed through.
    Object.assign(client, {
      query: (text: unknown, ...rest: unknown[]) =>
        typeof text === 'string' && rest.every((one) => typeof one !== 'function')
          ? watched(text, ...rest)
          : query(text, ...rest),
    });
  });
  try {
    await act(pool);
  } finally {
    await pool.end();
  }
  return most;
}

it('A query of the whole ledger locks every day', async () => {
  const act = (pool: typeof database.pool) =>
    inTransaction(pool, (connection) => connection.query('select count(*) from ledger'));
  expect(await mostDaysLocked(act)).toBeGreaterThan(10);
});

it('Each operation locks only the days that it needs, independent of the size of the ledger', async () => {
  const { ad } = await addAccount(database.pool);
  const [today, yesterday] = [0, 1].map((days) =>
    clickRecord({ ad, clickedAt: Date.now() - days * DAY_MS, nonce: uuidV7() }),
  );
  if (today === undefined || yesterday === undefined) throw new Error('Expected two clicks');
  await chargeBatch(database.pool, [today, yesterday]);
  await beginCheckpoints(database.pool, 'test', new Map([['a', '1']]));
  const clickIds = [today, yesterday].map(({ click }) => click.clickId);
  const moves = [{ partition: 'a', known: '1', next: '2' }];
  const days = {
    charge: await mostDaysLocked((pool) => chargeBatch(pool, [clickRecord({ ad })])),
    copy: await mostDaysLocked((pool) => chargeBatch(pool, [today])),
    quarantine: await mostDaysLocked((pool) => quarantine(pool, unreadableRecord(null), '')),
    reconcile: await mostDaysLocked((pool) => reconcile(pool, { brokers: [postgresBacklog] })),
    reconcileDeep: await mostDaysLocked((pool) =>
      reconcile(pool, { brokers: [postgresBacklog], deep: true }),
    ),
    export: await mostDaysLocked((pool) => exportLedger(pool, { since: new Date(0) }, async () => {})),
    clickShow: await mostDaysLocked((pool) =>
      readClickStory(pool, { is: 'id', id: today.click.clickId }, 14),
    ),
    clickShowOfNonce: await mostDaysLocked((pool) =>
      readClickStory(pool, { is: 'id', id: String(yesterday.click.nonce) }, 14),
    ),
    checkpoints: await mostDaysLocked((pool) =>
      inTransaction(pool, (connection) => moveCheckpoints(connection, 'test', moves, clickIds)),
    ),
  };
  expect(days).toEqual({
    charge: 1,
    copy: 1,
    quarantine: 0,
    reconcile: 0,
    reconcileDeep: 1,
    export: 1,
    clickShow: 1,
    // The nonce could also be the id of a click of its day.
    clickShowOfNonce: 2,
    checkpoints: 2,
  });
});
