import { beforeAll, expect, it } from 'vitest';
import { addAdvertiser } from '../../ledger/accounts/advertisers.ts';
import { addBudgetEntry, creditClick } from '../../ledger/accounts/budget-entries.ts';
import { addCampaign } from '../../ledger/accounts/campaigns.ts';
import { chargeBatch } from '../support/charge-batch.ts';
import { addAdTo, testDatabase } from '../support/database.ts';
import { clickRecord } from '../support/records.ts';
import { tollwayHere } from '../support/run-here.ts';

const database = testDatabase();
const now = new Date();
const month = now.toISOString().slice(0, 7);
const today = now.toISOString().slice(0, 10);

beforeAll(async () => {
  const advertiser = await addAdvertiser(database.pool, 'Blue "Shoes", Ltd', 'EUR');
  await addBudgetEntry(database.pool, advertiser.id, 'top_up', 10_000_000n, 'invoice 4711');
  await addBudgetEntry(database.pool, advertiser.id, 'adjustment', -500_000n, 'fee');
  const campaign = await addCampaign(database.pool, advertiser.id, 'Summer');
  const ad = await addAdTo(database.pool, campaign, '0.25', 'Banner');
  const unnamed = await addAdTo(database.pool, campaign, '1.00');
  const clicks = [
    clickRecord({ ad, clickedAt: now.getTime() }),
    clickRecord({ ad, clickedAt: now.getTime() }),
    clickRecord({ ad, clickedAt: now.getTime(), invalid: 'bot' }),
    clickRecord({ ad: unnamed, clickedAt: now.getTime() }),
  ];
  await chargeBatch(database.pool, clicks);
  await creditClick(database.pool, clicks[0]?.click.clickId ?? '');
  // The statement is as of a millisecond: let it pass.
  await database.pool.query("update budget_entry set created_at = created_at - interval '1 ms'");
});

const statement = (...args: string[]) =>
  tollwayHere({ DATABASE_URL: database.url, PATH: process.env.PATH }, 'statement', ...args);

it('a statement as JSON has the documented fields', async () => {
  const time = expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
  const expected = {
    advertiserId: 1,
    month,
    timeZone: 'UTC',
    currency: 'EUR',
    asOf: time,
    opening: '0.00',
    entries: [
      { at: time, kind: 'top_up', amount: '10.00', reference: 'invoice 4711' },
      { at: time, kind: 'adjustment', amount: '-0.50', reference: 'fee' },
    ],
    charges: [
      { campaignId: 1, campaignName: 'Summer', adId: 1, adName: 'Banner', clicks: 2, amount: '0.50' },
      { campaignId: 1, campaignName: 'Summer', adId: 2, adName: null, clicks: 1, amount: '1.00' },
    ],
    credits: [{ month, amount: '0.25', clicks: 1 }],
    closing: '8.25',
    gross: 4,
    invalid: [{ reason: 'bot', clicks: 1 }],
    net: 3,
  };
  for (const form of [['--json'], ['--format', 'json']]) {
    const { stdout } = await statement('1', '--month', month, ...form);
    expect(JSON.parse(stdout)).toEqual(expected);
    expect(Object.keys(JSON.parse(stdout))).toEqual(Object.keys(expected));
  }
});

it('a statement as a table names campaigns and ads, and its amounts add up', async () => {
  const { stdout, code } = await statement('1', '--month', month);
  expect(code).toBe(0);
  const lines = stdout.split('\n').map((line) => line.trim().split(/ {2,}/));
  expect(lines).toEqual([
    [`Statement of Blue "Shoes", Ltd (advertiser 1) for ${month}`],
    [
      expect.stringMatching(
        /^Complete for everything that was settled or entered before .*Z\. Time zone: UTC$/,
      ),
    ],
    [''],
    ['item', 'date', 'details', 'clicks', 'amount (EUR)'],
    ['Opening balance', '0.00'],
    ['Top-up', today, 'invoice 4711', '10.00'],
    ['Adjustment', today, 'fee', '-0.50'],
    ['Charged clicks', 'Summer (campaign 1), Banner (ad 1)', '2', '-0.50'],
    ['Charged clicks', 'Summer (campaign 1), ad 2', '1', '-1.00'],
    ['Credits for clicks', month, '1', '0.25'],
    ['Closing balance', '8.25'],
    [''],
    ['item', 'reason', 'clicks'],
    ['Gross clicks', '4'],
    ['Invalid clicks', 'bot', '1'],
    ['Net clicks', '3'],
    [''],
  ]);
});

it('a statement as CSV is one table, with a note on standard error', async () => {
  const { stdout, stderr } = await statement('1', '--month', month, '--format', 'csv');
  expect(stderr).toMatch(/^Complete for everything/);
  const name = '"Blue ""Shoes"", Ltd"';
  expect(stdout.trim().split('\n')).toEqual([
    'month,advertiserId,advertiser,item,date,reference,campaignId,campaign,adId,ad,clickMonth,reason,clicks,amount,currency',
    `${month},1,${name},opening,,,,,,,,,,0.00,EUR`,
    `${month},1,${name},top_up,${today},invoice 4711,,,,,,,,10.00,EUR`,
    `${month},1,${name},adjustment,${today},fee,,,,,,,,-0.50,EUR`,
    `${month},1,${name},charge,,,1,Summer,1,Banner,,,2,-0.50,EUR`,
    `${month},1,${name},charge,,,1,Summer,2,,,,1,-1.00,EUR`,
    `${month},1,${name},credit,,,,,,,${month},,1,0.25,EUR`,
    `${month},1,${name},closing,,,,,,,,,,8.25,EUR`,
    `${month},1,${name},gross,,,,,,,,,4,,`,
    `${month},1,${name},invalid,,,,,,,,bot,1,,`,
    `${month},1,${name},net,,,,,,,,,3,,`,
  ]);
});

it.each([
  [['1', '--month', '2026-13'], 'Expected a month such as 2026-11, got "2026-13"'],
  [['1', '--month', '2026-1'], 'Expected a month such as 2026-11, got "2026-1"'],
  [['1', '--month', '0000-01'], 'Expected a month such as 2026-11, got "0000-01"'],
  [['1', '--month', '9999-12'], 'Expected a month up to'],
  [['99', '--month', month], 'Expected the id of an advertiser in the database, got 99'],
  [['1'], "required option '--month <month>' not specified"],
])('statement %j says what was expected and what came', async (args, message) => {
  const { code, stderr, stdout } = await statement(...args);
  expect({ code, stdout }).toEqual({ code: 1, stdout: '' });
  expect(stderr).toContain(message);
});
