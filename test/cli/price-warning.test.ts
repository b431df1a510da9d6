import { expect, it } from 'vitest';
import { addBudgetEntry } from '../../ledger/accounts/budget-entries.ts';
import { chargeBatch } from '../support/charge-batch.ts';
import { addAccount, testDatabase } from '../support/database.ts';
import { clickRecord } from '../support/records.ts';
import { tollwayHere } from '../support/run-here.ts';

const database = testDatabase();

/** Runs a command that succeeds, and returns what it wrote to standard error. */
async function warningOf(...args: (string | number)[]): Promise<string> {
  const env = { DATABASE_URL: database.url, PATH: process.env.PATH };
  const { code, stderr } = await tollwayHere(env, ...args.map(String));
  expect(code, stderr).toBe(0);
  return stderr;
}

it('a limit below the price of each active ad is a warning, and the change is made', async () => {
  const { advertiser, campaign, ad } = await addAccount(database.pool, { budget: '10.00', price: '0.25' });
  const update = (...args: string[]) => warningOf('campaign', 'update', campaign.id, ...args);
  const owner = `campaign ${campaign.id} (${campaign.name})`;
  const consequence = 'below the price of each of its active ads: no click can be charged.';
  const advice = `To raise it: npx tollway campaign update ${campaign.id}`;

  expect(await update('--daily-cap', '0.25')).toBe('');
  expect(await update('--daily-cap', '0.24')).toBe(
    `Warning: the daily cap of ${owner} is 0.24 USD, ${consequence} ${advice} --daily-cap <amount>\n`,
  );
  expect(await update('--daily-cap', 'none', '--cap', '0.24')).toBe(
    `Warning: the cap of ${owner} is 0.24 USD, ${consequence} ${advice} --cap <amount>\n`,
  );
  expect(await update('--cap', '0.40')).toBe('');
  await chargeBatch(database.pool, [clickRecord({ ad })]);
  expect(await update('--name', campaign.name)).toBe(
    `Warning: the cap of ${owner} has 0.15 USD left, ${consequence} ${advice} --cap <amount>\n`,
  );
  expect(await update('--cap', 'none')).toBe('');
  await addBudgetEntry(database.pool, advertiser.id, 'adjustment', -9_600_000n);
  expect(await update('--name', campaign.name)).toBe(
    `Warning: the budget of advertiser ${advertiser.id} (${advertiser.name}) has 0.15 USD left, below the price of each active ad of ${owner}: ` +
      `no click can be charged. To add to it: npx tollway advertiser top-up ${advertiser.id} <amount>\n`,
  );
});

it('a new campaign has no ad yet, and one that is put is warned of like one that is updated', async () => {
  const { advertiser, campaign } = await addAccount(database.pool, { budget: '10.00', price: '0.25' });
  expect(await warningOf('campaign', 'add', advertiser.id, 'New', '--daily-cap', '0.01')).toBe('');
  await warningOf('campaign', 'update', campaign.id, '--external-id', 'crm-1');
  const put = ['campaign', 'put', advertiser.id, 'crm-1', '--name', 'Put', '--daily-cap'];
  expect(await warningOf(...put, '0.25')).toBe('');
  expect(await warningOf(...put, '0.24')).toContain('(Put) is 0.24 USD');
});

it('an ad whose price is above a limit is warned of, also beside cheaper ads', async () => {
  const { campaign } = await addAccount(database.pool, { budget: '10.00', price: '0.25' });
  await warningOf('campaign', 'update', campaign.id, '--daily-cap', '0.50');
  const url = ['--url', 'https://example.com/'];
  const add = (price: string) => warningOf('ad', 'add', campaign.id, '--price', price, ...url);
  expect(await add('0.50')).toBe('');
  expect(await add('0.51')).toMatch(
    /^Warning: the daily cap of campaign \d+ \(.+\) is 0\.50 USD, below the price of ad \d+: its clicks cannot be charged\. To raise it: /,
  );
  const other = await addAccount(database.pool, { budget: '10.00', price: '0.25' });
  expect(await warningOf('ad', 'update', other.ad.id, '--price', '10.00')).toBe('');
  expect(await warningOf('ad', 'update', other.ad.id, '--price', '10.01')).toContain(
    'has 10.00 USD left, below the price of each active ad of campaign',
  );
  expect(await warningOf('ad', 'pause', other.ad.id)).toBe('');
});
