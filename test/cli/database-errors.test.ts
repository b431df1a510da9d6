import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { type Account, addAccount, testDatabase } from '../support/database.ts';
import { tollwayHere } from '../support/run-here.ts';

const database = testDatabase();
let account: Account;
beforeAll(async () => {
  account = await addAccount(database.pool, { budget: '1.00' });
});

const topUp = (url: string) =>
  tollwayHere(
    { DATABASE_URL: url, PATH: process.env.PATH },
    ...['advertiser', 'top-up', String(account.advertiser.id), '5', '--reference', 'invoice'],
  );

/** Locks the row of the advertiser in another session while `work` runs. */
async function whileLocked<T>(work: (pid: number) => Promise<T>): Promise<T> {
  const other = await database.pool.connect();
  try {
    await other.query('begin');
    await other.query('select from advertiser where id = $1 for update', [account.advertiser.id]);
    const { rows } = await other.query<{ pid: number }>('select pg_backend_pid() as pid');
    return await work(rows[0]?.pid ?? 0);
  } finally {
    await other.query('rollback');
    other.release();
  }
}

describe('a command', () => {
  it('says that the database is read-only, and what to check', async () => {
    const url = new URL(database.url);
    url.searchParams.set('options', '-c default_transaction_read_only=on');
    const { code, stderr } = await topUp(url.href);
    expect([code, stderr]).toEqual([
      1,
      expect.stringMatching(/^The database is read-only: cannot execute .+ DATABASE_URL names a standby, /),
    ]);
  });

  it('says that the database has no tables, and what to do', async () => {
    const url = new URL(database.url);
    url.pathname = '/template1';
    const { code, stderr } = await topUp(url.href);
    expect([code, stderr]).toEqual([
      1,
      expect.stringMatching(
        /^The database lacks a table, column or function of the ledger: .+ does not exist\. Check DATABASE_URL, or run npm run migrate\n$/,
      ),
    ]);
  });

  it('says that the role lacks a right, and where the rights are', async () => {
    await database.pool.query("create role tollway_without_rights login password 'x'");
    try {
      const url = new URL(database.url);
      url.username = 'tollway_without_rights';
      url.password = 'x';
      const { code, stderr } = await topUp(url.href);
      expect([code, stderr]).toEqual([
        1,
        'The role of DATABASE_URL may not do this: permission denied for table advertiser. Use the role of the command line, or grant it its rights: docs/running.md#database\n',
      ]);
    } finally {
      await database.pool.query('drop role tollway_without_rights');
    }
  });

  it.each([
    ['/no_such_database', /database "no_such_database" does not exist/],
    [null, /role "no_such_role" does not exist|authentication failed for user "no_such_role"/],
  ])('says that the server refuses the connection, not that it does not answer: %s', async (path, reason) => {
    const url = new URL(database.url);
    if (path === null) url.username = 'no_such_role';
    else url.pathname = path;
    const { code, stderr } = await topUp(url.href);
    expect(code).toBe(1);
    expect(stderr).toMatch(reason);
    expect(stderr).toMatch(
      /^The database refuses the connection: .+\. Check the user, the password and the name of the database in DATABASE_URL\n$/,
    );
  });

  it('says that another session holds a lock, and where to read how to end it', {
    timeout: 60_000,
  }, async () => {
    let holder = 0;
    const { code, stderr } = await whileLocked((pid) => {
      holder = pid;
      return topUp(database.url);
    });
    expect(code).toBe(1);
    expect(stderr.trim().split('\n')).toEqual([
      expect.stringContaining(`The command waits for a lock of process ${holder} (tollway test, in a `),
      'Another session locks what this command needs: canceling statement due to lock timeout. Try again, or end that session: docs/runbook.md#tollwaysettlementblocked',
    ]);
  });
});

describe('the statement of the runbook for a locked advertiser', () => {
  const runbook = readFileSync(join(import.meta.dirname, '../../docs/runbook.md'), 'utf8');
  const [, statement = ''] = /psql "\$ADMIN_URL" -c "(select pid, [^"]+)"/.exec(runbook) ?? [];

  it('finds the session for a superuser', async () => {
    const pids = async () =>
      (await database.pool.query<{ pid: number }>(statement)).rows.map(({ pid }) => pid);
    await whileLocked(async (holder) => {
      expect(await pids()).toContain(holder);
    });
  });
});
