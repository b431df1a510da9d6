import { describe, expect, it } from 'vitest';
import { chargeBatch } from '../support/charge-batch.ts';
import { addAccount, testDatabase } from '../support/database.ts';
import { clickRecord } from '../support/records.ts';
import { tollwayHere } from '../support/run-here.ts';

const database = testDatabase();
const run = (...args: string[]) =>
  tollwayHere({ DATABASE_URL: database.url, PATH: process.env.PATH }, ...args);
const json = async (...args: string[]) => {
  const { code, stdout, stderr } = await run(...args, '--json');
  if (code !== 0) throw new Error(stderr);
  return JSON.parse(stdout);
};

describe('campaign', () => {
  it('is added, shown, changed, paused, archived and resumed', async () => {
    const { id: owner } = await json('advertiser', 'add', 'Berlin', '--time-zone', 'Europe/Berlin');
    const dates = ['--start', '2026-12-01', '--end', '2026-12-25T12:00:00Z'];
    const added = await json('campaign', 'add', String(owner), 'Advent', ...dates, '--cap', '500.00');
    expect(added).toEqual({
      id: added.id,
      advertiserId: owner,
      advertiserName: 'Berlin',
      name: 'Advent',
      externalId: null,
      status: 'active',
      cap: '500.00',
      spent: '0.00',
      dailyCap: null,
      spentToday: null,
      dailyCapReachedUntil: null,
      pacing: 'none',
      hold: false,
      startsAt: '2026-11-30T23:00:00.000Z',
      endsAt: '2026-12-25T12:00:00.000Z',
      fallbackUrl: null,
    });
    const id = String(added.id);
    const changes = ['--name', 'Winter', '--cap', 'none', '--start', 'none', '--end', '2027-03-01'];
    const changed = { ...added, name: 'Winter', cap: null, spent: null, startsAt: null };
    expect(await json('campaign', 'update', id, ...changes)).toEqual({
      ...changed,
      endsAt: '2027-02-28T23:00:00.000Z',
    });
    for (const [verb, status] of [
      ['pause', 'paused'],
      ['archive', 'archived'],
      ['resume', 'active'],
    ] as const)
      expect(await json('campaign', verb, id)).toMatchObject({ status });
    const { stdout } = await run('campaign', 'show', id);
    expect(stdout).toContain('name           Winter\n');
    expect(stdout).toContain('endsAt         2027-02-28T23:00:00.000Z\n');
  });

  it('is put by the id of another system', async () => {
    const { advertiser } = await addAccount(database.pool);
    const owner = String(advertiser.id);
    const put = (...options: string[]) =>
      json('campaign', 'put', owner, 'crm-1', '--name', 'CRM', ...options);
    const created = await put('--cap', '10.00', '--status', 'paused');
    expect(created).toMatchObject({ result: 'created', externalId: 'crm-1', cap: '10.00', status: 'paused' });
    expect(await put()).toMatchObject({ result: 'changed', id: created.id, cap: null, status: 'active' });
    const { result, ...row } = await put();
    expect(result).toBe('unchanged');
    expect(await json('campaign', 'list', '--external-id', 'crm-1')).toEqual([row]);
    expect(await json('campaign', 'list', '--search', 'crm')).toEqual([row]);
    const id = String(created.id);
    expect(await json('campaign', 'update', id, '--external-id', 'none')).toMatchObject({ externalId: null });
    const added = await json('campaign', 'add', owner, 'Second', '--external-id', 'crm-1');
    expect(added).toMatchObject({ externalId: 'crm-1' });
    const { stderr } = await run('campaign', 'update', id, '--external-id', 'crm-1');
    expect(stderr).toContain(`got "crm-1", which campaign ${added.id} (Second) has`);
  });

  it('is shown with what it has spent, also without a cap', async () => {
    const { campaign, ad } = await addAccount(database.pool, { price: '0.25' });
    await chargeBatch(database.pool, [clickRecord({ ad }), clickRecord({ ad })]);
    const shown = await json('campaign', 'show', String(campaign.id));
    expect(shown).toMatchObject({ cap: null, spent: '0.50' });
    const id = String(campaign.id);
    const { code, stderr } = await run('campaign', 'update', id, '--cap', '0.49');
    expect({ code, stderr }).toEqual({
      code: 1,
      stderr: `Expected a cap of at least 0.50 USD, which campaign ${id} has spent; got 0.49\n`,
    });
  });

  it.each([
    [['campaign', 'update', '1'], 'Expected an option that changes the campaign, got none'],
    [['campaign', 'update', '99', '--cap', '1'], 'Expected the id of a campaign in the database, got 99'],
    [['campaign', 'add', '1', 'X', '--start', '2d'], 'Expected a day such as 2026-01-31 or a time such as'],
    [['campaign', 'add', '1', 'X', '--end', 'none'], 'got "none"'],
    [
      ['campaign', 'add', '1', 'X', '--external-id', 'none'],
      'external id, got "none", which stands for no value',
    ],
    [['campaign', 'put', '1', 'none', '--name', 'X'], 'external id, got "none", which stands for no value'],
    [['campaign', 'add', '1', 'X', '--start', '0001-01-01'], 'years 1970 to 9999 of UTC, got "0001-01-01"'],
    [['campaign', 'update', '1', '--end', '0000-01-01'], 'Expected a day of the calendar, got "0000-01-01"'],
    [
      ['campaign', 'add', '1', 'X', '--start', '2026-02-01', '--end', '2026-01-31'],
      'Expected an end after the start, got the end 2026-01-30T23:00:00.000Z and the start 2026-01-31T23:00:00.000Z',
    ],
    [['campaign', 'list', '--status', 'gone'], 'Allowed choices are active, paused, archived'],
  ])('%j is refused', async (args, message) => {
    const { code, stdout, stderr } = await run(...args);
    expect({ code, stdout }).toEqual({ code: 1, stdout: '' });
    expect(stderr).toContain(message);
  });
});

describe('advertiser', () => {
  it('is renamed and archived, and the lists leave it out', async () => {
    const { advertiser } = await addAccount(database.pool);
    const id = String(advertiser.id);
    expect(await json('advertiser', 'rename', id, 'Red Shoes')).toMatchObject({ name: 'Red Shoes' });
    expect(await json('ad', 'list', '--advertiser', id)).toMatchObject([{ advertiserName: 'Red Shoes' }]);
    expect(await json('advertiser', 'archive', id)).toMatchObject({ status: 'archived' });
    const listed = async (...options: string[]) =>
      (await json('advertiser', 'list', ...options)).map((row: { id: number }) => row.id);
    expect(await listed()).not.toContain(advertiser.id);
    expect(await listed('--all')).toContain(advertiser.id);
    expect(await listed('--all', '--search', 'rED sh')).toEqual([advertiser.id]);
    expect(await listed('--status', 'archived')).toEqual([advertiser.id]);
    const { stdout } = await run('campaign', 'list', '--advertiser', id);
    expect(stdout).toBe('Nothing matches. --all also lists archived ones\n');
    expect((await json('reconcile')).advertisers.map((row: { id: number }) => row.id)).toContain(
      advertiser.id,
    );
  });
});

describe('ad', () => {
  it('is archived and resumed', async () => {
    const { campaign, ad } = await addAccount(database.pool);
    const listed = async () => (await json('ad', 'list', '--campaign', String(campaign.id))).length;
    expect(await json('ad', 'archive', String(ad.id))).toMatchObject({ status: 'archived' });
    expect(await listed()).toBe(0);
    await json('ad', 'resume', String(ad.id));
    expect(await listed()).toBe(1);
  });

  it('has a name, which is found, changed and removed', async () => {
    const { campaign } = await addAccount(database.pool);
    const create = ['ad', 'add', String(campaign.id), '--price', '0.25', '--url', 'https://example.com/'];
    expect(await json(...create)).toMatchObject({ name: null });
    expect(await run(...create, '--name', 'none')).toMatchObject({
      code: 1,
      stdout: '',
      stderr: expect.stringContaining('Expected a name, got "none", which stands for no value\n'),
    });
    const added = await json(...create, '--name', 'Banner 300x250, blue');
    expect(added).toMatchObject({ name: 'Banner 300x250, blue' });
    expect(await json('ad', 'list', '--search', '300X250')).toEqual([added]);
    const { stdout } = await run('ad', 'list', '--campaign', String(campaign.id));
    expect(stdout).toMatch(/ campaignName +name +price /);
    expect(stdout).toContain('  Banner 300x250, blue  ');
    const id = String(added.id);
    expect(await json('ad', 'update', id, '--name', 'Red')).toEqual({ ...added, name: 'Red' });
    expect(await json('ad', 'update', id, '--price', '0.30')).toMatchObject({ name: 'Red' });
    expect(await json('ad', 'update', id, '--name', 'none')).toMatchObject({ name: null });
    for (const [args, message] of [
      [[], 'Expected --name, --price, --url or --pass, got none of them'],
      [['--name', ' '], 'Expected a name of 1–200 printable characters, got none'],
    ] as const) {
      const { code, stderr } = await run('ad', 'update', id, ...args);
      expect(code).toBe(1);
      expect(stderr).toContain(message);
    }
  });

  it('is added with a warning to the campaign of another advertiser than the one named', async () => {
    const { campaign, advertiser } = await addAccount(database.pool);
    const add = (owner: number) => {
      const options = ['--price', '0.25', '--url', 'https://example.com/', '--advertiser', String(owner)];
      return run('ad', 'add', String(campaign.id), ...options);
    };
    expect(await add(advertiser.id)).toMatchObject({ code: 0, stderr: '' });
    const { code, stdout, stderr } = await add(advertiser.id + 1);
    const id = Number(/\n *(\d+)/.exec(stdout)?.[1]);
    expect({ code, stderr }).toEqual({
      code: 0,
      stderr:
        `Warning: campaign ${campaign.id} (Test campaign) belongs to advertiser ${advertiser.id} (Test advertiser), ` +
        `not to ${advertiser.id + 1}. Ad ${id} was added. To remove it: npx tollway ad archive ${id}\n`,
    });
  });
});

describe('ad', () => {
  it('passes query parameters on, and refuses to pass those of its destination', async () => {
    const { campaign } = await addAccount(database.pool);
    const url = 'https://example.com/?click={click_id}';
    const create = ['ad', 'add', String(campaign.id), '--price', '0.25', '--url', url];
    const added = await json(...create, '--pass', 'utm_*,gclid');
    expect(added).toMatchObject({ urlTemplate: url, pass: 'utm_*,gclid' });
    expect(await json(...create)).toMatchObject({ pass: '' });
    const id = String(added.id);
    expect(await json('ad', 'update', id, '--pass', 'sub1')).toMatchObject({ pass: 'sub1' });
    for (const [args, message] of [
      [['--pass', 'utm_*,click'], `got "click", which is in ${url}`],
      [['--url', 'https://example.com/?sub1=a'], 'got "sub1", which is in https://example.com/?sub1=a'],
      [['--pass', 'a.b'], 'Expected names of query parameters such as utm_*,gclid'],
    ] as const) {
      const { code, stderr } = await run('ad', 'update', id, ...args);
      expect(code).toBe(1);
      expect(stderr).toContain(message);
    }
    expect(await json('ad', 'update', id, '--pass', '')).toMatchObject({ urlTemplate: url, pass: '' });
  });
});
