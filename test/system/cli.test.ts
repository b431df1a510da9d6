import { cpSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { encodeChunk } from '../../brokers/postgres/chunk.ts';
import { createPool } from '../../common/postgres/postgres.ts';
import { freePorts } from '../../emulators/process/free-ports.ts';
import { clickLink, exportRows, makeLinks, startTraffic } from '../support/clicks.ts';
import { runToEnd, tollway } from '../support/run-script.ts';
import { stackEnv, startStack, type TestStack } from '../support/stack.ts';
import { suiteFolder } from '../support/temporary-folder.ts';
import { until } from '../support/until.ts';

const folder = suiteFolder();
let stack: TestStack;
beforeAll(async () => {
  const env = await stackEnv(folder, { KAFKA_BROKER: 'localhost:9092' });
  stack = await startStack(env);
  // Misspelt for npm start alone.
  delete env.KAFKA_BROKER;
});
afterAll(async () => {
  await stack.stop();
});

const json = async <T = unknown>(...args: string[]): Promise<T> => {
  const { stdout, stderr, code } = await stack.tollway(...args, '--json');
  if (code !== 0) throw new Error(`${args.join(' ')}: ${stderr}${stdout}`);
  return JSON.parse(stdout) as T;
};
const settled = () =>
  until(
    'settled books',
    async () => (await stack.tollway('reconcile', '--settled', '--deep')).code === 0,
    15_000,
  );

it('--version prints the version of package.json, without a database', async () => {
  const { version } = JSON.parse(readFileSync('package.json', 'utf8')) as { version: string };
  const { code, stdout } = await tollway({ ...stack.env, DATA_DIR: join(folder, 'none') }, '--version');
  expect({ code, stdout }).toEqual({ code: 0, stdout: `${version}\n` });
  expect(stack.printed()).toContain(`Tollway ${version} is ready`);
});

it('a command and npm start name a variable that looks like a setting, once', async () => {
  const { code, stderr } = await tollway({ ...stack.env, SPOOL_MAXBYTES: '1' }, 'advertiser', 'list');
  expect(code).toBe(0);
  expect(stderr).toBe(
    'The environment variable SPOOL_MAXBYTES is not a setting of Tollway and is ignored. Did you mean SPOOL_MAX_BYTES?\n',
  );
  expect(stack.printed().match(/Did you mean /g)).toEqual(['Did you mean ']);
  expect(stack.printed()).toContain('Did you mean KAFKA_BROKERS?');
});

describe('the JSON that scripts build on', () => {
  it('of status names every address', async () => {
    expect(await json('status')).toEqual({
      adServerUrl: stack.adServerUrl,
      adServerOpsUrl: stack.adServerOpsUrl,
      processorOpsUrl: stack.processorOpsUrl,
      consoleUrl: stack.consoleUrl,
      consoleOpsUrl: `http://127.0.0.1:${stack.env.CONSOLE_OPS_PORT}`,
      databaseUrl: expect.stringMatching(/^postgres:\/\//),
      broker: 'postgres',
      settings: {},
      dataDir: stack.env.DATA_DIR,
      pid: stack.process.pid,
      health: { adServer: 'ready', processor: 'ready', console: 'ready', database: 'ready' },
    });
  });

  it('of status comes with exit code 1 when a part does not answer', async () => {
    const [nobody = 0] = await freePorts(1);
    const dataDir = join(folder, 'unhealthy');
    mkdirSync(dataDir);
    const described = JSON.parse(readFileSync(join(String(stack.env.DATA_DIR), 'stack.json'), 'utf8'));
    const processorOpsUrl = `http://127.0.0.1:${nobody}`;
    writeFileSync(join(dataDir, 'stack.json'), JSON.stringify({ ...described, dataDir, processorOpsUrl }));
    const { code, stdout } = await tollway({ ...stack.env, DATA_DIR: dataDir }, 'status', '--json');
    expect(JSON.parse(stdout)).toMatchObject({
      processorOpsUrl,
      health: { adServer: 'ready', processor: 'does not answer', console: 'ready', database: 'ready' },
    });
    expect(code).toBe(1);
  });

  it('of advertiser list has amounts as decimal strings', async () => {
    const [first] = await json<unknown[]>('advertiser', 'list');
    expect(first).toEqual({
      id: 1,
      name: 'Sample Coffee',
      currency: 'USD',
      timeZone: 'UTC',
      status: 'active',
      budget: '100.00',
      spent: expect.stringMatching(/^\d+\.\d{2}$/),
      remaining: expect.stringMatching(/^\d+\.\d{2}$/),
      lowBudget: '20,5',
    });
  });

  it('of ad list has the price as a decimal string', async () => {
    const [first] = await json<unknown[]>('ad', 'list');
    expect(first).toEqual({
      id: 1,
      advertiserId: 1,
      advertiserName: 'Sample Coffee',
      campaignId: 1,
      campaignName: 'Sample Coffee: first campaign',
      name: 'Banner 300x250, coffee beans',
      price: '0.25',
      urlTemplate: '/sample/coffee?click={click_id}&ad={ad_id}',
      pass: '',
      status: 'active',
    });
  });

  it('of reconcile holds every term of the identity, and of export a line a click', async () => {
    const [link = ''] = await makeLinks(stack, 1, 1);
    const { clickId } = await clickLink(link);
    await settled();
    const reconciliation = await json<Record<string, number>>('reconcile');
    const {
      accepted,
      charged = 0,
      overBudget = 0,
      invalid = 0,
      rejected = 0,
      inFlight = 0,
      missing = 0,
    } = reconciliation;
    expect(accepted).toBe(charged + overBudget + invalid + rejected + inFlight + missing);
    expect(reconciliation).toMatchObject({
      balanced: true,
      unattributed: 0,
      missing: 0,
      advertisers: expect.any(Array),
    });
    const row = (await exportRows(stack)).find((one) => one.clickId === clickId);
    expect(row).toEqual({
      clickId,
      nonce: expect.stringMatching(/^[0-9a-f-]{36}$/),
      advertiserId: 1,
      campaignId: 1,
      adId: 1,
      publisher: null,
      outcome: 'charged',
      reason: null,
      charged: '0.25',
      currency: 'USD',
      clickedAt: expect.stringMatching(/Z$/),
      settledAt: expect.stringMatching(/Z$/),
      spoolId: expect.stringMatching(/^[0-9a-f-]{36}$/),
      sequence: expect.any(Number),
      kind: 'impression',
    });
  });
});

describe('accounts', () => {
  it('are made, paused and resumed, and the ad server follows', async () => {
    const advertiser = await json<{ id: number }>(
      'advertiser',
      'add',
      'Blue Shoes',
      '--currency',
      'EUR',
      '--budget',
      '1.00',
    );
    const campaign = await json<{ id: number }>(
      'campaign',
      'add',
      String(advertiser.id),
      'Summer',
      '--cap',
      '0.50',
    );
    const ad = await json<{ id: number }>(
      'ad',
      'add',
      String(campaign.id),
      '--price',
      '0.30',
      '--url',
      'https://example.com/{ad_id}?c={click_id}',
    );
    const [one = '', two = '', three = ''] = await makeLinks(stack, ad.id, 3);
    await until('the new ad', async () => (await clickLink(one, {}, 'HEAD')).status === 302, 5_000);
    expect((await clickLink(one)).location).toMatch(
      new RegExp(`^https://example\\.com/${ad.id}\\?c=[0-9a-f-]{36}$`),
    );

    await stack.tollway('ad', 'pause', String(ad.id));
    const isPaused = async () =>
      (await exportRows(stack)).some((row) => row.adId === ad.id && row.reason === 'paused');
    const clickUntil = (link: string, seen: () => Promise<boolean>, what: string) =>
      until(
        what,
        async () => {
          await clickLink(link);
          return seen();
        },
        10_000,
      );
    await clickUntil(two, isPaused, 'a paused click');
    await stack.tollway('ad', 'resume', String(ad.id));
    // 0.30 of the cap of 0.50 is spent: the next click does not fit, whenever it comes.
    const overCap = async () =>
      (await exportRows(stack)).some(
        (row) => row.adId === ad.id && row.outcome === 'over_budget' && row.reason === 'cap',
      );
    await clickUntil(three, overCap, 'an over-budget click');
    await settled();
  });

  it('take a reference once', async () => {
    const before = await json<{ budget: string }>(
      'advertiser',
      'top-up',
      '2',
      '10.00',
      '--reference',
      'invoice-1',
    );
    expect(await json('advertiser', 'top-up', '2', '10.00', '--reference', 'invoice-1')).toMatchObject({
      budget: before.budget,
      entered: false,
    });
    const other = await stack.tollway('advertiser', 'top-up', '2', '11.00', '--reference', 'invoice-1');
    expect(other).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('Reference "invoice-1" was already used for a top-up of 10.00 USD'),
    });
  });

  it('get the charge of a click back once', async () => {
    const [link = ''] = await makeLinks(stack, 1, 1);
    const { clickId } = await clickLink(link);
    await settled();
    const first = await json<{ entered: boolean; remaining: string }>('click', 'credit', String(clickId));
    const second = await json<{ entered: boolean; remaining: string }>('click', 'credit', String(clickId));
    expect(first).toMatchObject({ entered: true, amount: '0.25' });
    expect(second).toMatchObject({ entered: false, remaining: first.remaining });
    await settled();
  });
});

describe('what the broker holds', () => {
  it('that is garbage becomes a dead letter; its neighbours are charged; an operator may discard it', async () => {
    const status = await json<{ databaseUrl: string }>('status');
    const pool = createPool(status.databaseUrl, 'test', 1, () => {});
    const records = [
      { key: null, value: Buffer.from([0, 255, 1]) },
      { key: 'somebody-else', value: Buffer.from('{"hello":"world"}') },
    ];
    await pool.query('insert into broker_chunk (record_count, payload) values (2, $1)', [
      encodeChunk(records),
    ]);
    await pool.end();
    await until(
      'two dead letters',
      async () => (await json<unknown[]>('dead-letters', 'list')).length === 2,
      10_000,
    );
    const [first] = await json<{ id: string; reason: string }[]>('dead-letters', 'list');
    expect(first).toMatchObject({ reason: 'malformed' });
    expect(await json('dead-letters', 'show', String(first?.id))).toMatchObject({
      raw: Buffer.from([0, 255, 1]).toString('base64'),
    });
    expect((await stack.tollway('dead-letters', 'redrive', String(first?.id))).code).toBe(1);
    await stack.tollway('dead-letters', 'discard', '--all');
    expect(await json('dead-letters', 'list')).toEqual([]);
    await settled();
  });

  it('is read again after a rewind, and nothing is charged twice', async () => {
    await settled();
    const before = await json('advertiser', 'list');
    const { records } = await json<{ records: number }>('rewind', '--since', '1h');
    expect(records).toBeGreaterThan(0);
    await settled();
    expect(await json('advertiser', 'list')).toEqual(before);
  });

  it('is maintained beside a processor that does it too', async () => {
    expect(await json('maintain')).toEqual({ maintained: true });
    await settled();
  });
});

describe('spool drain', () => {
  it('relays a spool that was rescued from another host', { timeout: 60_000 }, async () => {
    await stack.tollway('advertiser', 'top-up', '1', '1000.00');
    const links = await makeLinks(stack, 1, 2_000);
    // The clicks of this traffic stay in the spool: nobody can take them from it in time.
    const lone = await startStack(
      await stackEnv(join(folder, 'lone'), { RELAY_LINGER_MS: '10000', LINK_KEYS: readKeys() }),
    );
    const traffic = startTraffic(links.map((link) => link.replace(stack.adServerUrl, lone.adServerUrl)));
    await traffic.done;
    await lone.killTree();
    const rescued = join(folder, 'rescued');
    cpSync(join(String(lone.env.DATA_DIR), 'spool'), rescued, { recursive: true });

    const { code, stdout } = await stack.tollway('spool', 'drain', rescued);
    expect(code).toBe(0);
    expect(stdout).toContain(': published ');
    expect(readdirSync(rescued)).toEqual([]);
    await settled();
    const ids = new Set((await exportRows(stack)).map((row) => row.clickId));
    expect(traffic.recorded.length).toBeGreaterThan(1_000);
    expect(traffic.recorded.filter((clickId) => !ids.has(clickId))).toEqual([]);
  });

  const readKeys = () =>
    process
      .getBuiltinModule('node:fs')
      .readFileSync(join(String(stack.env.DATA_DIR), 'link-keys'), 'utf8')
      .trim();
});

describe('parts that run alone', () => {
  it('migrate a database, and say what they miss', async () => {
    const { databaseUrl } = await json<{ databaseUrl: string }>('status');
    const bare = { PATH: process.env.PATH, DATA_DIR: join(folder, 'alone') };
    expect(await runToEnd('migrations/migrate.ts', { ...bare, DATABASE_URL: databaseUrl })).toMatchObject({
      code: 0,
    });
    expect(await runToEnd('migrations/migrate.ts', bare)).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/^DATABASE_URL: expected/),
    });
    expect(await runToEnd('migrations/migrate.ts', { ...bare, DATABSE_URL: databaseUrl })).toMatchObject({
      code: 1,
      stdout: expect.stringContaining('Did you mean DATABASE_URL?'),
    });
    expect(await runToEnd('ad-server/main.ts', { ...bare, DATABASE_URL: databaseUrl })).toMatchObject({
      code: 1,
      stderr: 'ad-server: LINK_KEYS: expected the keys of the links, got nothing\n',
    });
    const env = { ...bare, DATABASE_URL: databaseUrl, LINK_KEYS: `k1:signs:${'A'.repeat(43)}` };
    expect(
      await runToEnd('ad-server/main.ts', { ...env, ERROR_PAGE_FILE: '/nowhere/error.html' }),
    ).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(
        /^ad-server: ERROR_PAGE_FILE: expected a file that can be read, got ENOENT: .*\n$/,
      ),
    });
    expect(await runToEnd('processor/main.ts', bare)).toMatchObject({
      code: 1,
      stderr: 'processor: DATABASE_URL: expected the database of the ledger, got nothing\n',
    });
  });
});
