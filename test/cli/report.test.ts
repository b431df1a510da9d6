import { beforeAll, expect, it } from 'vitest';
import { updateAd } from '../../ledger/accounts/ads.ts';
import { chargeBatch } from '../support/charge-batch.ts';
import { addAccount, testDatabase } from '../support/database.ts';
import { clickRecord } from '../support/records.ts';
import { tollwayHere } from '../support/run-here.ts';

const database = testDatabase();
beforeAll(async () => {
  const { ad } = await addAccount(database.pool, { price: '0.25' });
  await updateAd(database.pool, ad.id, { name: 'Banner' });
  await chargeBatch(database.pool, [clickRecord({ ad, publisher: 'example-news' }), clickRecord({ ad })]);
});

const report = (...args: string[]) =>
  tollwayHere({ DATABASE_URL: database.url, PATH: process.env.PATH }, 'report', ...args);

it('a report is printed as a table, as CSV and as JSON, with the time that it is true for', async () => {
  const { stdout, stderr, code } = await report('--since', '1d', '--by', 'ad,outcome');
  expect(code).toBe(0);
  expect(stdout.split('\n').map((line) => line.trim().split(/ +/))).toEqual([
    ['adId', 'ad', 'outcome', 'currency', 'clicks', 'charged', 'corrected'],
    ['1', 'Banner', 'charged', 'USD', '2', '0.50', '0.50'],
    [''],
  ]);
  expect(stderr).toMatch(/^Complete for all clicks that were settled before \d{4}-.*Z\. Time zone: UTC\n$/);
  expect((await report('--since', '1d', '--by', 'ad,outcome', '--format', 'csv')).stdout).toBe(
    'adId,ad,outcome,currency,clicks,charged,corrected\n1,Banner,charged,USD,2,0.50,0.50\n',
  );
  const json = JSON.parse((await report('--since', '1d', '--by', 'ad', '--json')).stdout);
  expect(json).toMatchObject({ timeZone: 'UTC', rows: [{ adId: 1, clicks: 2, charged: '0.50' }] });
  expect(Object.keys(json)).toEqual(['since', 'until', 'asOf', 'timeZone', 'rows']);
});

it('a report is broken down by publisher, or has the clicks of one', async () => {
  const byPublisher = ['--since', '1d', '--by', 'publisher', '--format', 'csv'];
  const header = 'publisher,currency,clicks,charged,corrected';
  expect((await report(...byPublisher)).stdout.split('\n')).toEqual([
    header,
    'example-news,USD,1,0.25,0.25',
    ',USD,1,0.25,0.25',
    '',
  ]);
  expect((await report(...byPublisher, '--publisher', 'example-news')).stdout.split('\n')).toEqual([
    header,
    'example-news,USD,1,0.25,0.25',
    '',
  ]);
});

it('names stand beside the ids in the table and in CSV, and not in JSON', async () => {
  const by = ['--since', '1d', '--by', 'advertiser,campaign,ad'];
  const expected = '1,Test advertiser,1,Test campaign,1,Banner,USD,2,0.50,0.50\n';
  expect((await report(...by, '--format', 'csv')).stdout).toBe(
    `advertiserId,advertiser,campaignId,campaign,adId,ad,currency,clicks,charged,corrected\n${expected}`,
  );
  expect((await report(...by)).stdout).toContain('advertiserId  advertiser       campaignId  campaign ');
  const [row] = JSON.parse((await report(...by, '--json')).stdout).rows;
  expect(Object.keys(row).slice(0, 3)).toEqual(['advertiserId', 'campaignId', 'adId']);
  const empty = ['--since', '2020-01-01', '--until', '2020-01-02', '--by', 'campaign', '--format', 'csv'];
  expect((await report(...empty)).stdout).toBe('campaignId,campaign,currency,clicks,charged,corrected\n');
});

it('the CSV of a period without clicks has its header', async () => {
  const { stdout } = await report('--since', '2020-01-01', '--until', '2020-01-02', '--format', 'csv');
  expect(stdout).toBe('day,currency,clicks,charged,corrected\n');
});

it.each([
  [['--since', '2026-13-01'], 'Expected a day of the calendar, got "2026-13-01"'],
  [['--since', '1d', '--by', 'day,browser'], 'got "browser"'],
  [['--since', '1d', '--time-zone', '+01:00'], 'Expected the name of a time zone'],
  [['--since', '1d', '--advertiser', '99'], 'Expected the id of an advertiser in the database, got 99'],
  [
    ['--since', '1d', '--publisher', 'example.com'],
    'Expected a publisher of 1–32 letters, digits, - and _, got "example.com"',
  ],
  [['--since', '2026-11-27T10:07:00Z'], 'Expected a day or a quarter of an hour'],
  [['--since', '2026-02-01', '--until', '2026-01-01'], 'Expected an end (until) after the beginning (since)'],
])('report %j says what was expected and what came', async (args, message) => {
  const { code, stderr, stdout } = await report(...args);
  expect({ code, stdout }).toEqual({ code: 1, stdout: '' });
  expect(stderr).toContain(message);
});
