import { once } from 'node:events';
import { beforeAll, describe, expect, it } from 'vitest';
import { drawFrame } from '../../cli/top/draw-frame.ts';
import type { TopFrame } from '../../cli/top/top-reads.ts';
import { rollUp } from '../../ledger/reports/rollup.ts';
import { chargeBatch } from '../support/charge-batch.ts';
import { type Account, addAccount, testDatabase } from '../support/database.ts';
import { clickRecord } from '../support/records.ts';
import { tollwayHere } from '../support/run-here.ts';
import { runScript } from '../support/run-script.ts';
import { startTcpProxy } from '../support/tcp-proxy.ts';
import { suiteFolder } from '../support/temporary-folder.ts';

const database = testDatabase();
const folder = suiteFolder();
let account: Account;
const envOf = (url: string) => ({ PATH: process.env.PATH ?? '', DATABASE_URL: url, DATA_DIR: folder });

beforeAll(async () => {
  account = await addAccount(database.pool, { budget: '0.50' });
  const clicks = [1, 2, 3].map(() => clickRecord({ ad: account.ad }));
  await chargeBatch(database.pool, [...clicks, clickRecord({ ad: account.ad, invalid: 'bot' })]);
  await rollUp(database.pool);
});

describe('tollway top --once', () => {
  it('prints the numbers of the ledger as JSON', async () => {
    const { code, stdout } = await tollwayHere(envOf(database.url), 'top', '--json');
    expect(code).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({
      clicks: { charged: 0, overBudget: 0, invalid: 0, rejected: 0 },
      flow: { settled: 4, relayed: 4, accepted: 4, brokerOldestSeconds: 0 },
      books: null,
      problems: [
        { code: 'TollwayPartAbsent', summary: 'No ad server runs' },
        { code: 'TollwayPartAbsent', summary: 'No processor runs' },
        { code: 'TollwayBudgetNearlyGone' },
      ],
      budgets: [{ advertiserId: account.advertiser.id, remaining: '0.00', perHour: null, exhausted: true }],
      reasons: {
        rows: expect.arrayContaining([{ outcome: 'over_budget', reason: 'budget', clicks: 1 }]),
      },
      top: { ads: [{ adId: account.ad.id, clicks: 4, charged: '0.50', currency: 'USD' }] },
    });
  });

  it('prints them for a person', async () => {
    const { code, stdout } = await tollwayHere(envOf(database.url), 'top', '--once');
    expect(code).toBe(0);
    expect(stdout).toContain('Clicks   0.0/s charged, 0.0/s over budget, 0.0/s invalid, 0.0/s rejected');
    expect(stdout).toMatch(
      /^Flow {5}4 accepted\n {9}4 relayed\n {9}4 settled, [\d.]+ s from click to charge$/m,
    );
    expect(stdout).toContain('Books    not checked yet: a console checks them every minute');
    expect(stdout).toContain('Problems PAGE TollwayPartAbsent: No ad server runs');
    expect(stdout).toMatch(/^Test advertiser +USD +0\.50 +0\.00 +exhausted$/m);
    expect(stdout).toMatch(/^over_budget +budget +1$/m);
  });

  it('refuses an interval out of range', async () => {
    for (const interval of ['0', '61', 'x']) {
      const { code, stderr } = await tollwayHere(envOf(database.url), 'top', '--interval', interval);
      expect([code, stderr]).toEqual([1, expect.stringContaining('Expected an interval of 1–60 seconds')]);
    }
  });
});

describe('tollway top', () => {
  it('goes on while the database is away, says how old the numbers are, and ends with 0', {
    timeout: 60_000,
  }, async () => {
    const proxy = await startTcpProxy(database.url);
    const child = runScript('cli/main.js', envOf(proxy.url), 'top');
    let printed = '';
    child.stdout?.setEncoding('utf8').on('data', (text) => {
      printed += text;
    });
    const frames = () => printed.split('\n\n').filter((text) => text.startsWith('Tollway  ')).length;
    await expect.poll(frames, { timeout: 20_000 }).toBeGreaterThan(1);
    await proxy.cut();
    await expect
      .poll(() => printed, { timeout: 20_000 })
      .toMatch(/THE DATABASE DOES NOT ANSWER: these numbers are [\d.]+ s old/);
    await proxy.restore();
    printed = '';
    await expect.poll(() => /^Tollway {2}[^T]*UTC\n/m.test(printed), { timeout: 20_000 }).toBe(true);
    child.kill('SIGINT');
    expect(await once(child, 'exit')).toEqual([0, null]);
    await proxy.close();
  });
});

describe('a frame', () => {
  const asOf = '2026-05-01T10:00:00.000Z';
  const budget = (name: string, exhaustedAt: string | null, exhausted = false) => ({
    ...{ advertiserId: 1, name, currency: 'USD', status: 'active' as const, lowBudget: false },
    ...{ budget: '10.00', spent: '9.00', remaining: '1.00', perHour: '2.00', exhaustedAt, exhausted },
  });
  const ad = (adId: number, adName: string | null) => ({
    ...{ adId, adName, advertiserId: 1, advertiserName: 'Shoes', campaignName: 'Summer' },
    ...{ clicks: 3, charged: '0.75', currency: 'EUR' },
  });
  const frame: TopFrame = {
    asOf,
    clicks: { from: '2026-05-01T09:59:58.000Z', asOf, charged: 20, overBudget: 1, invalid: 0, rejected: 0 },
    flow: {
      ...{ accepted: 120, relayed: 110, settled: 100, spoolOldestSeconds: 3, brokerOldestSeconds: 200 },
      clickToChargeSeconds: 0.42,
    },
    books: {
      balanced: true,
      checkedAt: '2026-05-01T09:59:48.000Z',
      missing: 0,
      inFlight: 10,
      problemCount: 0,
      problems: [],
    },
    problems: [],
    budgets: [
      budget('idle', null),
      budget('\u001b[31mlater', '2026-05-01T13:00:00.000Z'),
      budget('soon', '2026-05-01T10:30:00.000Z'),
      budget('gone', null, true),
    ],
    reasons: { since: asOf, rows: [] },
    top: { since: asOf, ads: [ad(4, 'Banner'), ad(5, null)], publishers: [] },
  };
  const lines = drawFrame(frame, { columns: 80, rows: 40 });

  it('has rates, the flow with what waits, and the books', () => {
    expect(lines.slice(0, 7)).toEqual([
      'Tollway  2026-05-01 10:00:00 UTC',
      'Clicks   10.0/s charged, 0.5/s over budget, 0.0/s invalid, 0.0/s rejected',
      'Flow     120 accepted, 10 wait in spools, the oldest for 3.0 s',
      '         110 relayed, 10 wait in the broker, the oldest for 3 min',
      '         100 settled, 0.4 s from click to charge',
      'Books    balance, checked 12 s ago, 0 missing, 10 in flight',
      'Problems none',
    ]);
  });

  it('lists first what runs dry first', () => {
    const names = lines.filter((line) => line.includes('USD')).map((line) => line.trim());
    expect(names.map((line) => line.split(/ {2,}/).at(-1))).toEqual(['30 min', '3 h', 'exhausted', '2.00']);
  });

  it('names ads beside their ids', () => {
    const ads = lines.filter((line) => line.includes('EUR')).map((line) => line.split(/ {2,}/));
    expect(ads).toEqual([
      ['4 Banner, Shoes', 'Summer', '3', '0.75 EUR'],
      ['5 Shoes', 'Summer', '3', '0.75 EUR'],
    ]);
  });

  it('escapes control characters of names, and fits the terminal', () => {
    expect(lines.join('')).not.toContain('\u001b');
    const small = drawFrame(frame, { columns: 30, rows: 6 });
    expect(small).toHaveLength(6);
    expect(Math.max(...small.map((line) => line.length))).toBeLessThanOrEqual(30);
  });
});
