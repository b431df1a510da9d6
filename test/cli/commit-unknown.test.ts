import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { listKeys } from '../../ledger/access/api-keys.ts';
import { listBudgetEntries } from '../../ledger/accounts/budget-entries.ts';
import { chargeBatch } from '../support/charge-batch.ts';
import { type Account, addAccount, testDatabase } from '../support/database.ts';
import { clickRecord, unreadableRecord } from '../support/records.ts';
import { tollwayHere } from '../support/run-here.ts';
import type { CliResult } from '../support/run-script.ts';
import { startTcpProxy, type TcpProxy } from '../support/tcp-proxy.ts';
import { until } from '../support/until.ts';

const database = testDatabase();
/** The advisory lock for which the commit of each change waits. */
const COMMIT_LOCK = 42;
const MAY_BE_MADE =
  /^The database stopped answering during the commit, so the change may have been made: [^.\n]+\. /;

let account: Account;
let proxy: TcpProxy;

beforeAll(async () => {
  account = await addAccount(database.pool, { budget: '1.00' });
  await database.pool.query(`create function wait_for_test() returns trigger language plpgsql as
    $$ begin perform pg_advisory_xact_lock_shared(${COMMIT_LOCK}); return null; end $$;
    create constraint trigger wait_for_test after insert on audit_entry
    deferrable initially deferred for each row execute function wait_for_test()`);
  proxy = await startTcpProxy(database.url);
});
afterAll(() => proxy.close());

const run = (...args: string[]) => tollwayHere({ DATABASE_URL: proxy.url, PATH: process.env.PATH }, ...args);

/** Runs a command, and calls `lose` while the server is at its commit. */
async function runAndLose(lose: () => Promise<unknown>, ...args: string[]): Promise<CliResult> {
  const holder = await database.pool.connect();
  try {
    await holder.query('select pg_advisory_lock($1)', [COMMIT_LOCK]);
    const command = run(...args);
    await until('the commit', async () => (await waiting()) === 1);
    await lose();
    const result = await command;
    await holder.query('select pg_advisory_unlock($1)', [COMMIT_LOCK]);
    // The server has received the commit, and finishes it without its client.
    await until('the end of the commit', async () => (await waiting()) === 0);
    return result;
  } finally {
    // Closes the connection, which releases the lock.
    holder.release(true);
  }
}

const COMMITTING = `pg_stat_activity where datname = current_database() and application_name = 'tollway cli' and wait_event = 'advisory'`;

async function waiting(): Promise<number> {
  const { rows } = await database.pool.query<{ count: bigint }>(`select count(*) from ${COMMITTING}`);
  return Number(rows[0]?.count);
}

/** The client loses its connection, and the server finishes the commit. */
async function loseConnection(): Promise<void> {
  await proxy.cut();
  await proxy.restore();
}
/** The server ends the session and rolls back. */
const endSession = () => database.pool.query(`select pg_terminate_backend(pid) from ${COMMITTING}`);

async function amounts(reference: string): Promise<string[]> {
  const entries = await listBudgetEntries(database.pool, account.advertiser.id);
  return entries.flatMap((entry) => (entry.reference === reference ? [String(entry.amountMicros)] : []));
}

describe.each([
  { name: 'connection', lose: loseConnection, made: 1 },
  { name: 'session', lose: endSession, made: 0 },
])('a command that loses its $name during the commit', ({ lose, made }) => {
  it.each([
    ['top-up', '100.00', '100000000'],
    ['adjust', '2.00', '2000000'],
  ])('%s names its reference, with which it is entered once', async (name, amount, micros) => {
    const command = ['advertiser', name, String(account.advertiser.id), amount];
    const { code, stdout, stderr } = await runAndLose(lose, ...command);
    expect({ code, stdout }).toEqual({ code: 1, stdout: '' });
    expect(stderr).toMatch(MAY_BE_MADE);
    expect(stderr).toContain(`\`npx tollway advertiser entries ${account.advertiser.id}\` shows whether`);
    const reference = /with --reference ([0-9a-f-]{36}),/.exec(stderr)?.[1] ?? '';
    expect(await amounts(reference)).toEqual(Array(made).fill(micros));
    expect(await run(...command, '--reference', reference)).toMatchObject({ code: 0 });
    expect(await amounts(reference)).toEqual([micros]);
  });

  it('with a reference of its own can be repeated as it is', async () => {
    const reference = `invoice ${made}`;
    const command = ['advertiser', 'top-up', String(account.advertiser.id), '5.00', '--reference', reference];
    const { stderr } = await runAndLose(lose, ...command);
    expect(stderr).toContain('Repeat the command with the same --reference, which enters the amount once');
    await run(...command);
    expect(await amounts(reference)).toEqual(['5000000']);
  });

  it('says where to look before the change is repeated', async () => {
    const { code, stderr } = await runAndLose(lose, 'advertiser', 'add', 'Red Shoes');
    expect(code).toBe(1);
    expect(stderr).toMatch(MAY_BE_MADE);
    expect(stderr).toContain('`npx tollway audit list` shows the change if it was made');
  });

  it('says what to do about a key that was not printed', async () => {
    const before = (await listKeys(database.pool)).length;
    const { stdout, stderr } = await runAndLose(lose, 'key', 'create', '--role', 'viewer');
    expect(stdout).toBe('');
    expect(stderr).toMatch(MAY_BE_MADE);
    expect(stderr).toContain('`npx tollway key list` shows the key if it was made. Revoke it then');
    expect(await listKeys(database.pool)).toHaveLength(before + made);
  });

  it('says so of a dead letter', async () => {
    await chargeBatch(database.pool, [unreadableRecord(Buffer.from('not a click'))]);
    const { code, stdout } = await runAndLose(lose, 'dead-letters', 'discard', '--all');
    expect(code).toBe(1);
    expect(stdout).toContain('so the change may have been made');
    expect(stdout).toContain('Repeat the command: no click is charged twice');
  });

  it('says that an erasure can be repeated', async () => {
    const { code, stderr } = await runAndLose(lose, 'evidence', 'erase', '--network', '203.0.113.0/24');
    expect(code).toBe(1);
    expect(stderr).toMatch(MAY_BE_MADE);
    expect(stderr).toContain('Repeat the command: what is erased stays erased');
  });
});

it('a command that does not reach the database says that it does not answer', async () => {
  await proxy.cut();
  const { code, stderr } = await run('advertiser', 'top-up', String(account.advertiser.id), '1.00');
  await proxy.restore();
  expect(code).toBe(1);
  expect(stderr).toMatch(/^The database does not answer: /);
});

it('a click is credited once, however often it is repeated', async () => {
  const record = clickRecord({ ad: account.ad });
  await chargeBatch(database.pool, [record]);
  const { clickId } = record.click;
  const { stderr } = await runAndLose(loseConnection, 'click', 'credit', clickId);
  expect(stderr).toMatch(MAY_BE_MADE);
  expect(await run('click', 'credit', clickId)).toMatchObject({
    code: 0,
    stdout: 'This click was credited before: nothing was added\n',
  });
});
