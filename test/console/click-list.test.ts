import { beforeAll, describe, expect, it, vi } from 'vitest';
import { run } from '../../cli/run.ts';
import { uuidFloor } from '../../common/uuid.ts';
import { creditClick } from '../../ledger/accounts/budget-entries.ts';
import { listClicks } from '../../ledger/clicks/list-clicks.ts';
import { chargeBatch } from '../support/charge-batch.ts';
import { type Account, addAccount, createTestDatabase, testDatabase } from '../support/database.ts';
import { clickRecord } from '../support/records.ts';
import { tollwayHere } from '../support/run-here.ts';
import { testApi } from './api-client.ts';

const database = testDatabase();
const api = testApi(database);

const HOUR_MS = 3_600_000;
/** An hour of yesterday. */
const HOUR = Math.floor(Date.now() / HOUR_MS) * HOUR_MS - 24 * HOUR_MS;
const at = (ms: number) => new Date(ms).toISOString();
const hour = `since=${at(HOUR)}&until=${at(HOUR + HOUR_MS)}`;

let mine: Account;
let other: Account;
/** Clicks of the hour in their order. */
let ids: readonly string[];
beforeAll(async () => {
  mine = await addAccount(database.pool);
  other = await addAccount(database.pool);
  const click = (minutes: number, options: Parameters<typeof clickRecord>[0]) =>
    clickRecord({ ...options, clickedAt: HOUR + minutes * 60_000 });
  const records = [
    click(-1, { ad: mine.ad, publisher: 'site-1' }),
    click(0, { ad: mine.ad, publisher: 'site-1' }),
    click(10, { ad: other.ad, publisher: 'site-1' }),
    click(20, { ad: mine.ad, publisher: 'site-2' }),
    click(30, { ad: mine.ad, publisher: 'site-1', invalid: 'bot' }),
    click(40, { ad: mine.ad, publisher: 'site-1' }),
    click(60, { ad: mine.ad, publisher: 'site-1' }),
  ];
  await chargeBatch(database.pool, records);
  ids = records.slice(1, -1).map(({ click }) => click.clickId);
  await creditClick(database.pool, ids[4] ?? '');
});

const pick = (...indexes: readonly number[]) => indexes.map((index) => ids[index]);
const idsOf = async (query: string, key?: string) => {
  const { body } = await api.send('GET', `/v1/clicks?${query}`, key === undefined ? {} : { key });
  return body.items.map(({ clickId }: { clickId: string }) => clickId);
};

describe('GET /v1/clicks', () => {
  it('lists the clicks of a period in the order of their times', async () => {
    const { body } = await api.send('GET', `/v1/clicks?${hour}`);
    expect(body.items.map(({ clickId }: { clickId: string }) => clickId)).toEqual(ids);
    expect(body.nextCursor).toBeNull();
    expect(body.items[0]).toMatchObject({
      ...{
        clickedAt: at(HOUR),
        outcome: 'charged',
        reason: null,
        charged: '0.25',
        credited: '0.00',
        currency: 'USD',
      },
      ...{
        adId: mine.ad.id,
        campaignId: mine.campaign.id,
        advertiserId: mine.advertiser.id,
        publisher: 'site-1',
      },
      ...{ advertiserName: mine.advertiser.name, campaignName: mine.campaign.name },
    });
    expect(body.items[3]).toMatchObject({ outcome: 'invalid', reason: 'bot', charged: '0.00' });
    expect(body.items[4]).toMatchObject({ charged: '0.25', credited: '0.25' });
  });

  it('filters by publisher, ad, campaign, advertiser and outcome', async () => {
    expect(await idsOf(`${hour}&publisher=site-1`)).toEqual(pick(0, 1, 3, 4));
    expect(await idsOf(`${hour}&publisher=site-1&outcome=charged`)).toEqual(pick(0, 1, 4));
    expect(await idsOf(`${hour}&adId=${other.ad.id}`)).toEqual(pick(1));
    expect(await idsOf(`${hour}&campaignId=${other.campaign.id}`)).toEqual(pick(1));
    expect(await idsOf(`${hour}&advertiserId=${mine.advertiser.id}&outcome=invalid`)).toEqual(pick(3));
    expect(await idsOf(`${hour}&publisher=nobody`)).toEqual([]);
    expect(await idsOf(`since=${at(HOUR + HOUR_MS)}`)).toHaveLength(1);
  });

  it('shows a restricted key its own clicks alone', async () => {
    const key = await api.addKey({ role: 'viewer', advertiserIds: [mine.advertiser.id] });
    expect(await idsOf(hour, key)).toEqual(pick(0, 2, 3, 4));
    for (const filter of [
      `advertiserId=${other.advertiser.id}`,
      `campaignId=${other.campaign.id}`,
      `adId=${other.ad.id}`,
    ])
      expect((await api.send('GET', `/v1/clicks?${hour}&${filter}`, { key })).status, filter).toBe(404);
  });

  it('has pages', async () => {
    const found: string[] = [];
    let cursor = '';
    for (let pages = 0; pages < 3; pages++) {
      const { body } = await api.send('GET', `/v1/clicks?${hour}&limit=2${cursor}`);
      found.push(...body.items.map(({ clickId }: { clickId: string }) => clickId));
      cursor = `&cursor=${body.nextCursor}`;
      expect(body.nextCursor === null).toBe(pages === 2);
    }
    expect(found).toEqual(ids);
  });

  it.each([
    ['', 400],
    [`since=${at(HOUR)}&until=${at(HOUR - 1)}`, 400],
    [`${hour}&outcome=rejected`, 400],
    [`${hour}&cursor=Mg`, 400],
    [`${hour}&adId=2000000000`, 404],
  ])('refuses %s', async (query, status) => {
    expect(await api.send('GET', `/v1/clicks?${query}`)).toMatchObject({ status });
  });
});

describe('a page of clicks', () => {
  it('ends when it has looked at as many clicks as it may, and the next one continues', async () => {
    const filter = { since: new Date(HOUR), until: new Date(HOUR + HOUR_MS), adId: other.ad.id };
    const pages: string[][] = [];
    let from: string | null | undefined;
    do {
      const page = await listClicks(database.pool, filter, { from, limit: 10, scannedMax: 1 });
      pages.push(page.clicks.map(({ clickId }) => clickId));
      from = page.next;
      // Where the next page begins names no click: it can be one of another advertiser.
      expect(ids).not.toContain(from);
    } while (from !== null && pages.length < 20);
    expect(pages).toEqual([[], pick(1), [], [], []]);
  });
});

describe('click list', () => {
  it('prints what the API answers, and its CSV is a list for click credit', async () => {
    const run = (...args: string[]) =>
      tollwayHere({ DATABASE_URL: database.url, PATH: process.env.PATH }, 'click', 'list', ...args);
    const period = ['--since', at(HOUR), '--until', at(HOUR + HOUR_MS)];
    const json = await run(...period, '--publisher', 'site-1', '--json');
    const { body } = await api.send('GET', `/v1/clicks?${hour}&publisher=site-1`);
    expect(JSON.parse(json.stdout)).toEqual(body.items);
    const csv = await run(...period, '--outcome', 'charged', '--format', 'csv');
    expect(csv.stdout).toMatch(/^clickId,clickedAt,settledAt,outcome,/);
    const cut = await run(...period, '--limit', '2');
    expect(cut.stdout.trim().split('\n')).toHaveLength(3);
    expect(cut.stderr).toContain('--limit');
    expect((await run(...period, '--publisher', 'nobody')).stdout).toContain('The ledger has no such clicks');
  });

  it('writes a long list part by part, each click once', async () => {
    const many = await createTestDatabase();
    try {
      const { advertiser, campaign, ad } = await addAccount(many.pool);
      await many.pool.query(
        `insert into ledger (click_id, advertiser_id, campaign_id, ad_id, outcome, reason, charged_micros, clicked_at, settled_at)
         select id::uuid, $2, $3, $4, 'invalid', 'bot', 0, now(), now()
         from (select overlay($1 placing lpad(to_hex(number), 12, '0') from 25) as id from generate_series(1, 25000) number)`,
        [uuidFloor(HOUR), advertiser.id, campaign.id, ad.id],
      );
      vi.stubEnv('DATABASE_URL', many.url);
      const texts: string[] = [];
      const write = vi.spyOn(process.stdout, 'write').mockImplementation((text) => {
        texts.push(String(text));
        return true;
      });
      const args = ['--since', at(HOUR), '--limit', '20001', '--format', 'csv'];
      await run(['click', 'list', ...args]).finally(() => write.mockRestore());
      // 10 000 clicks each time, and one; a header before the first.
      expect(texts.map((text) => text.split('\n').length - 1)).toEqual([10_001, 10_000, 1]);
      const ids = texts.join('').split('\n').slice(1, -1);
      expect(new Set(ids.map((line) => line.slice(0, 36))).size).toBe(20_001);
    } finally {
      vi.unstubAllEnvs();
      await many.drop();
    }
  });
});
