import { beforeAll, expect, it } from 'vitest';
import { addAccount, testDatabase } from '../support/database.ts';
import { tollwayHere } from '../support/run-here.ts';

const database = testDatabase();
beforeAll(async () => {
  await addAccount(database.pool, { budget: '100.00' });
});

const run = (...args: string[]) =>
  tollwayHere({ DATABASE_URL: database.url, PATH: process.env.PATH }, ...args);

it('a list is printed as CSV with a header line', async () => {
  const { code, stdout } = await run('advertiser', 'list', '--format', 'csv');
  expect(code).toBe(0);
  expect(stdout).toBe(
    'id,name,currency,timeZone,status,budget,spent,remaining\n1,Test advertiser,USD,UTC,active,100.00,0.00,100.00\n',
  );
});

it('a list without rows prints nothing as CSV, and an empty array as JSON', async () => {
  expect(await run('spool', 'corrections', '--format', 'csv')).toEqual({ code: 0, stdout: '', stderr: '' });
  expect((await run('spool', 'corrections', '--format', 'json')).stdout).toBe('[]\n');
});

it('--json is the short form of --format json', async () => {
  const long = await run('advertiser', 'list', '--format', 'json');
  expect(long.code).toBe(0);
  expect(JSON.parse(long.stdout)).toMatchObject([{ id: 1, budget: '100.00' }]);
  expect(await run('advertiser', 'list', '--json')).toEqual(long);
});

it('one row is an object in JSON, and a header and a line in CSV', async () => {
  const paused = await run('ad', 'pause', '1', '--format', 'json');
  expect(JSON.parse(paused.stdout)).toMatchObject({ id: 1, status: 'paused' });
  expect((await run('ad', 'resume', '1', '--format', 'csv')).stdout.split('\n')).toHaveLength(3);
});

it.each([
  [['maintain', '--format', 'csv'], 'Allowed choices are table, json.'],
  [['advertiser', 'list', '--format', 'xml'], 'Allowed choices are table, csv, json.'],
])('a format that a command does not have is refused: %j', async (args, message) => {
  const { code, stdout, stderr } = await run(...args);
  expect({ code, stdout }).toEqual({ code: 1, stdout: '' });
  expect(stderr).toContain(message);
});
