import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { watermarkRecord } from '../../contract/click-event.ts';
import { updateAd } from '../../ledger/accounts/ads.ts';
import { listDeadLetterIds } from '../../ledger/charge/dead-letters.ts';
import { chargeBatch, expectBalanced } from '../support/charge-batch.ts';
import {
  type Account,
  addAccount,
  addAdTo,
  createTestDatabase,
  type TestDatabase,
} from '../support/database.ts';
import { TestSpool, unreadableRecord } from '../support/records.ts';
import { tollwayHere } from '../support/run-here.ts';
import { suiteFolder } from '../support/temporary-folder.ts';

/** What `tollway dead-letters redrive` and `discard` do with many letters, of which some fail. */

let database: TestDatabase & { drop: () => Promise<void> };
const folder = suiteFolder();
let account: Account;

beforeEach(async () => {
  database = await createTestDatabase();
  account = await addAccount(database.pool);
});
afterEach(() => database.drop());

const letters = async () => (await listDeadLetterIds(database.pool, 0n, 10_000)).map(String);
const run = (...args: string[]) => {
  const { KAFKA_BROKERS: _, BROKER: __, ...inherited } = process.env;
  return tollwayHere({ ...inherited, DATABASE_URL: database.url, DATA_DIR: folder }, 'dead-letters', ...args);
};

/** Letters of three clicks whose ad was made since; the one in the middle holds a watermark instead. */
async function threeLetters(): Promise<readonly string[]> {
  const spoolId = new TestSpool();
  for (let count = 1; count <= 3; count += 1)
    await chargeBatch(database.pool, [spoolId.click({ ad: { ...account.ad, id: account.ad.id + 1 } })]);
  await addAdTo(database.pool, account.campaign);
  const ids = await letters();
  const { key, value } = watermarkRecord(spoolId.id, 1_000);
  await database.pool.query('update dead_letter set record_key = $2, raw = $3 where id = $1', [
    ids[1],
    key,
    value,
  ]);
  return ids;
}

/** Has every redrive fail as it does where the database shuts down. */
async function breakRedrives(): Promise<void> {
  await database.pool.query(
    `create function broken() returns trigger language plpgsql as
       $$ begin raise exception 'shutting down' using errcode = '57P01'; end $$;
     create trigger broken before delete on dead_letter execute function broken()`,
  );
}

describe('list and show', () => {
  it('name the ad and the advertiser of each record, as far as they exist', async () => {
    const { ad, advertiser } = account;
    await updateAd(database.pool, ad.id, { name: 'Banner, blue' });
    const spool = new TestSpool();
    for (const wrong of [
      { ...ad, campaignId: 99 },
      { ...ad, id: 98, advertiserId: 97 },
    ])
      await chargeBatch(database.pool, [spool.click({ ad: wrong })]);
    await chargeBatch(database.pool, [unreadableRecord(Buffer.from('no click'))]);
    const listed = JSON.parse((await run('list', '--json')).stdout);
    expect(listed).toMatchObject([
      { adId: ad.id, adName: 'Banner, blue', advertiserId: advertiser.id, advertiserName: 'Test advertiser' },
      { adId: 98, adName: null, advertiserId: 97, advertiserName: null },
      { adId: null, adName: null, advertiserId: null, advertiserName: null },
    ]);
    const table = await run('list');
    expect(table.stdout).toMatch(
      /^id +reason +clickId +adId +adName +advertiserId +advertiserName +recordKey /,
    );
    expect(table.stdout).toMatch(/ Banner, blue +1 +Test advertiser /);
    const { stdout } = await run('show', listed[0].id);
    expect(stdout).toContain(`\nadId           ${ad.id}\nadName         Banner, blue\n`);
    expect(stdout).toContain('\nadvertiserName Test advertiser\n');
    expect(stdout).toMatch(/\nraw {12}\{/);
  });
});

it('show has the bytes of a record that is not text, and says when it was discarded', async () => {
  await chargeBatch(database.pool, [unreadableRecord(Buffer.from([0xde, 0xad, 0xbe, 0xef, 0]))]);
  const [id = ''] = await letters();
  expect((await run('show', id)).stdout).toContain('\nraw in base64  3q2+7wA=\n');
  await run('discard', id);
  expect((await run('show', id)).stdout).toMatch(/\ndiscardedAt {4}20\S+Z\nraw {12}\(none\)\n/);
});

describe('redrive', () => {
  it('of all goes on after a letter that fails, says what became of each, and ends with code 1', async () => {
    const [first, second, third] = await threeLetters();
    const { code, stdout } = await run('redrive', '--all');
    const lines = stdout.trim().split('\n');
    expect(lines).toHaveLength(5);
    expect(lines[1]).toMatch(new RegExp(`${first} +charged`));
    expect(lines[2]).toMatch(new RegExp(`${second} +failed +Dead letter ${second} is a watermark`));
    expect(lines[3]).toMatch(new RegExp(`${third} +charged`));
    expect(lines[4]).toBe('2 charged, 1 failed');
    expect(code).toBe(1);
    expect(await letters()).toEqual([second]);
    expect(await expectBalanced(database.pool)).toMatchObject({ accepted: 3, charged: 2, rejected: 1 });
  });

  it('of chosen letters goes on too, also with --json', async () => {
    const [first, second, third] = await threeLetters();
    const { code, stdout } = await run('redrive', String(second), '999', String(third), '--json');
    expect(JSON.parse(stdout)).toEqual([
      { id: second, outcome: 'failed', reason: expect.stringContaining('is a watermark') },
      { id: '999', outcome: 'failed', reason: 'Expected the id of a dead letter in the database, got 999' },
      { id: third, outcome: 'charged', reason: null },
    ]);
    expect(code).toBe(1);
    expect(await letters()).toEqual([first, second]);
  });

  it('ends with code 1 where a click is rejected again, and with 0 where all are charged', async () => {
    const spoolId = new TestSpool();
    await chargeBatch(database.pool, [spoolId.click({ ad: { ...account.ad, id: account.ad.id + 1 } })]);
    expect(await run('redrive', '--all')).toMatchObject({
      code: 1,
      stdout: expect.stringMatching(/rejected +unknown_ad/),
    });
    await addAdTo(database.pool, account.campaign);
    const { code, stdout } = await run('redrive', '--all');
    expect(stdout).toMatch(/charged\n$/);
    expect(code).toBe(0);
    expect(await run('redrive', '--all')).toMatchObject({ code: 0, stdout: 'There are no dead letters.\n' });
  });

  it('stops at the first letter when the database cannot be reached', async () => {
    const [first] = await threeLetters();
    await breakRedrives();
    const { code, stdout } = await run('redrive', '--all', '--json');
    expect(JSON.parse(stdout)).toEqual([{ id: first, outcome: 'failed', reason: 'shutting down' }]);
    expect(code).toBe(1);
  });
});

describe('discard', () => {
  it('of all takes more letters than are read at once', async () => {
    await database.pool.query(
      `insert into dead_letter (identity, reason, detail, raw, counted)
       select 'position ' || n, 'malformed', 'x', 'x', false from generate_series(1, 1001) n`,
    );
    expect(await run('discard', '--all')).toMatchObject({ code: 0, stdout: '1001 discarded\n' });
    expect(await letters()).toEqual([]);
  });

  it('names the letters that it could not discard', async () => {
    const [first] = await threeLetters();
    expect(await run('discard', '999', String(first))).toMatchObject({
      code: 1,
      stdout: '999: Expected the id of a dead letter in the database, got 999\n1 failed, 1 discarded\n',
    });
  });
});
