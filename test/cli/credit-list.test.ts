import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createReadStream, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { gzipSync } from 'node:zlib';
import { beforeEach, describe, expect, it } from 'vitest';
import { uuidV7 } from '../../common/uuid.ts';
import { creditClick, listBudgetEntries } from '../../ledger/accounts/budget-entries.ts';
import { rollUp } from '../../ledger/reports/rollup.ts';
import { chargeBatch, expectBalanced } from '../support/charge-batch.ts';
import { type Account, addAccount, testDatabase } from '../support/database.ts';
import { TestSpool } from '../support/records.ts';
import { tollwayHere } from '../support/run-here.ts';
import { suiteFolder, temporaryFolder } from '../support/temporary-folder.ts';
import { until } from '../support/until.ts';

const database = testDatabase();
const spool = new TestSpool();
const folder = suiteFolder();
let account: Account;
let other: Account;
beforeEach(async () => {
  account = await addAccount(database.pool, { budget: '2000.00' });
  other = await addAccount(database.pool);
});

const env = () => ({ PATH: process.env.PATH, DATABASE_URL: database.url, DATA_DIR: folder });
const tollway = (...args: string[]) => tollwayHere(env(), ...args);
const credit = (...args: string[]) => tollway('click', 'credit', ...args);

/** Starts the command as a process. */
const start = (...args: string[]) =>
  spawn(process.execPath, ['cli/main.js', 'click', 'credit', ...args], {
    ...{ env: env(), cwd: join(import.meta.dirname, '..', '..') },
  });

/** Charges clicks of an account and returns their ids. */
async function charge(count: number, { ad } = account): Promise<string[]> {
  const records = Array.from({ length: count }, () => spool.click({ ad, publisher: 'site-1' }));
  await chargeBatch(database.pool, records);
  return records.map(({ click }) => click.clickId);
}

async function chargeRobot(): Promise<string> {
  const record = spool.click({ ad: account.ad, invalid: 'bot', publisher: 'site-1' });
  await chargeBatch(database.pool, [record]);
  return record.click.clickId;
}

function writeList(lines: readonly string[], name = 'clicks.txt'): string {
  const path = join(folder, name);
  writeFileSync(path, lines.map((line) => `${line}\n`).join(''));
  return path;
}

async function creditsOf({ advertiser }: Account): Promise<string[]> {
  const entries = await listBudgetEntries(database.pool, advertiser.id);
  return entries.flatMap(({ clickId }) => clickId ?? []).sort();
}

async function expectCredited(ids: readonly string[]): Promise<void> {
  expect(await creditsOf(account)).toEqual(ids.toSorted());
  await rollUp(database.pool);
  await expectBalanced(database.pool);
}

const NOTHING = {
  ...{ credited: 0, amounts: [], alreadyCredited: 0, notCharged: 0, otherAdvertiser: 0 },
  ...{ unknown: 0, dayClosed: 0, passedOver: 0, refused: [] },
};

describe('click credit with several ids', () => {
  it('prints a summary, and the clicks that could not be credited with the reason', async () => {
    const [a = '', b = '', before = ''] = await charge(3);
    const [foreign = ''] = await charge(1, other);
    const robot = await chargeRobot();
    const unknown = uuidV7();
    await creditClick(database.pool, before);
    const ids = [robot, a, before, unknown, b, foreign];
    const id = String(account.advertiser.id);
    const { code, stdout, stderr } = await credit(...ids, '--advertiser', id);
    expect({ code, stderr }).toEqual({ code: 1, stderr: '' });
    expect(stdout.trim().split('\n')).toEqual([
      'Credited 2 clicks: 0.50 USD',
      'Credited before: 1',
      'Not charged: 1',
      'Of another advertiser: 1',
      'Unknown: 1',
      'Could not be credited:',
      `  ${robot}: it was not charged, its outcome is invalid: bot`,
      `  ${unknown}: the ledger has no such click`,
      `  ${foreign}: it is a click of advertiser ${other.advertiser.id} (Test advertiser)`,
    ]);
    const again = await credit(...ids, '--advertiser', id, '--json');
    expect(again.code).toBe(1);
    expect(JSON.parse(again.stdout)).toEqual({
      ...{ ...NOTHING, alreadyCredited: 3, notCharged: 1, otherAdvertiser: 1, unknown: 1 },
      refused: [
        { clickId: robot, result: 'not_charged', reason: 'it was not charged, its outcome is invalid: bot' },
        { clickId: unknown, result: 'unknown', reason: 'the ledger has no such click' },
        {
          ...{ clickId: foreign, result: 'other_advertiser' },
          reason: `it is a click of advertiser ${other.advertiser.id} (Test advertiser)`,
        },
      ],
    });
    expect(await creditsOf(other)).toEqual([]);
    await expectCredited([a, b, before]);
  });

  it('is refused without ids and with both ids and a file', async () => {
    expect((await credit()).stderr).toBe('Expected click ids or --file, got neither\n');
    expect((await credit(uuidV7(), '--file', 'x')).stderr).toBe('Expected click ids or --file, got both\n');
  });

  it('names the first 20 that could not be credited', async () => {
    const { stdout } = await credit(...Array.from({ length: 25 }, () => uuidV7()));
    expect(stdout).toContain('Unknown: 25\nCould not be credited (the first 20):\n');
    expect(stdout.trim().split('\n')).toHaveLength(23);
  });
});

describe('click credit with one id', () => {
  it('prints what it did and how much remains', async () => {
    const [clickId = ''] = await charge(1);
    const first = await credit(clickId, '--json');
    expect(JSON.parse(first.stdout)).toEqual({
      ...{
        clickId,
        advertiserId: account.advertiser.id,
        amount: '0.25',
        entered: true,
        remaining: '2000.00',
      },
    });
    expect((await credit(clickId)).stdout).toBe('This click was credited before: nothing was added\n');
    await expectCredited([clickId]);
  });

  it('refuses a click of another advertiser', async () => {
    const [clickId = ''] = await charge(1, other);
    expect(await credit(clickId, '--advertiser', String(account.advertiser.id))).toEqual({
      ...{ code: 1, stdout: '' },
      stderr: `The ledger has no click ${clickId} of advertiser ${account.advertiser.id}\n`,
    });
    const done = await credit(clickId, '--advertiser', String(other.advertiser.id));
    expect(done).toMatchObject({ code: 0, stdout: expect.stringMatching(/^Credited 0.25 USD to /) });
  });
});

describe('click credit --file', () => {
  it('credits more clicks than a transaction takes, each once, also when it is repeated', async () => {
    const ids = await charge(2_300);
    const path = writeList([...ids, '', ids[0]?.toUpperCase() ?? '']);
    const first = await credit('--file', path, '--json');
    expect({ code: first.code, stderr: first.stderr }).toEqual({ code: 0, stderr: '' });
    expect(JSON.parse(first.stdout)).toMatchObject({
      ...{ credited: 2_300, amounts: [{ currency: 'USD', amount: '575.00' }], refused: [] },
    });
    expect((await credit('--file', path)).stdout).toBe('Credited 0 clicks\nCredited before: 2301\n');
    await expectCredited(ids);
  });

  it('reads the lines of an export, and passes over those that are no charges', async () => {
    const ids = await charge(3);
    await chargeRobot();
    await creditClick(database.pool, ids[0] ?? '');
    const filter = ['--advertiser', String(account.advertiser.id), '--publisher', 'site-1'];
    const exported = await tollway('export', ...filter);
    expect(exported.stdout.trim().split('\n')).toHaveLength(5);
    const path = join(folder, 'export.ndjson.gz');
    writeFileSync(path, gzipSync(exported.stdout));
    expect(await credit('--file', path)).toEqual({
      ...{ code: 0, stderr: '' },
      stdout: 'Credited 2 clicks: 0.50 USD\nCredited before: 1\nLines of the export that are no charges: 2\n',
    });
    await expectCredited(ids);
    const csv = await tollway('export', ...filter, '--format', 'csv');
    const csvPath = join(folder, 'export.csv');
    writeFileSync(csvPath, csv.stdout);
    expect((await credit('--file', csvPath)).stdout).toBe(
      'Credited 0 clicks\nCredited before: 3\nLines of the export that are no charges: 4\n',
    );
  });

  it.each(['little endian', 'big endian'])('reads UTF-16, as spreadsheets save it: %s', async (order) => {
    const ids = await charge(3);
    const bytes = Buffer.from(
      `\ufeffclickId\toutcome\r\n${ids.map((id) => `${id}\tcharged\r\n`).join('')}`,
      'utf16le',
    );
    const path = join(folder, 'sheet.txt');
    writeFileSync(path, order === 'little endian' ? bytes : bytes.swap16());
    expect(await credit('--file', path)).toMatchObject({ code: 0, stdout: 'Credited 3 clicks: 0.75 USD\n' });
    await expectCredited(ids);
    // Half of a pair of code units.
    writeFileSync(
      path,
      Buffer.concat([
        Buffer.from([0xff, 0xfe]),
        Buffer.from(`${ids[0]}\n`, 'utf16le'),
        Buffer.from([0, 0xd8]),
      ]),
    );
    expect(await credit('--file', path)).toEqual({
      ...{ code: 1, stdout: '' },
      stderr: `${path}: expected UTF-16 text, as its first bytes say, got bytes that are none\n`,
    });
  });

  it('reads standard input, as a process', { timeout: 30_000 }, async () => {
    const ids = await charge(3);
    const path = writeList(ids);
    const child = start('--file', '-', '--json');
    createReadStream(path).pipe(child.stdin);
    const [stdout, stderr] = await Promise.all([text(child.stdout), text(child.stderr)]);
    expect(stderr).toBe('');
    expect(JSON.parse(stdout)).toMatchObject({ credited: 3 });
    await expectCredited(ids);
  });

  it('credits each click once though its process is killed again and again', {
    timeout: 60_000,
  }, async () => {
    const ids = await charge(6_000);
    const path = writeList(ids);
    let killed = 0;
    for (let credited = 0; credited < 5_000; ) {
      const child = start('--file', path);
      const ended = once(child, 'close');
      const before = credited;
      await until('the next credits', async () => {
        credited = (await creditsOf(account)).length;
        return credited > before || child.exitCode !== null;
      });
      if (child.kill('SIGKILL')) killed += 1;
      await ended;
      credited = (await creditsOf(account)).length;
      // Transactions are whole.
      expect(credited % 1_000).toBe(0);
    }
    expect(killed).toBeGreaterThan(0);
    expect((await credit('--file', path)).code).toBe(0);
    await expectCredited(ids);
  });

  it.each([
    ['no id', '4711'],
    ['another UUID', '0b5f0f0e-5d3a-4c6b-9d2f-1f2e3d4c5b6a'],
    ['JSON without an id', '{"click":"x"}'],
    ['a charge without an id', '{"clickId":null,"outcome":"charged"}'],
    ['no JSON', '{"clickId":'],
    ['an outcome in capital letters', `{"clickId":"${uuidV7()}","outcome":"Charged"}`],
    ['an empty outcome', `{"clickId":"${uuidV7()}","outcome":null}`],
    ['the header of CSV', 'clickId,nonce,advertiserId'],
  ])('with %s in a line says so and credits nothing', async (_, line) => {
    const ids = await charge(1_001);
    const path = writeList([...ids, line]);
    expect(await credit('--file', path)).toEqual({
      ...{ code: 1, stdout: '' },
      stderr: `${path}, line 1002: expected a click id (a UUIDv7 as Tollway-Click shows it) or a line of an export in NDJSON or CSV, got "${line}"\n`,
    });
    expect(await creditsOf(account)).toEqual([]);
  });

  it('that ends with an error can be repeated, and says how many clicks it has credited', async () => {
    const ids = await charge(1_500);
    const path = writeList(ids);
    const last = ids.at(-1);
    await database.pool.query(
      `alter table budget_entry add constraint refuses check (click_id <> '${last}') not valid`,
    );
    const { code, stderr } = await credit('--file', path);
    expect(code).toBe(1);
    expect(stderr).toContain('Stopped by an error after 1000 clicks had been credited. Repeat the command');
    await database.pool.query('alter table budget_entry drop constraint refuses');
    expect((await credit('--file', path)).stdout).toBe(
      'Credited 500 clicks: 125.00 USD\nCredited before: 1000\n',
    );
    await expectCredited(ids);
  });

  it.each([
    ['a file that does not exist', 'none', 'the file does not exist'],
    ['a folder', '', 'expected a file, got a folder'],
  ])('names %s', async (_, name, problem) => {
    const path = join(folder, name);
    expect(await credit('--file', path)).toEqual({ code: 1, stdout: '', stderr: `${path}: ${problem}\n` });
  });
});

it.each(['SIGINT', 'SIGTERM', 'SIGHUP'] as const)(
  'A list of standard input leaves no copy behind when %s ends the command',
  async (signal) => {
    const copies = temporaryFolder();
    const child = spawn(process.execPath, ['cli/main.js', 'click', 'credit', '--file', '-'], {
      ...{ env: { ...env(), TMPDIR: copies }, cwd: join(import.meta.dirname, '..', '..') },
    });
    child.stdin.write(`${uuidV7()}\n`);
    await until('a copy', () => readdirSync(copies, { recursive: true }).length > 1);
    const ended = once(child, 'exit');
    child.kill(signal);
    expect(await ended).toEqual([null, signal]);
    expect(readdirSync(copies)).toEqual([]);
  },
);
