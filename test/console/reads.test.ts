import { beforeAll, describe, expect, it } from 'vitest';
import { uuidV7 } from '../../common/uuid.ts';
import { addBudgetEntry } from '../../ledger/accounts/budget-entries.ts';
import { readStatement } from '../../ledger/accounts/statement.ts';
import { reportJson, statementJson } from '../../ledger/output-json.ts';
import { readReport } from '../../ledger/reports/report.ts';
import { rollUp } from '../../ledger/reports/rollup.ts';
import { chargeBatch } from '../support/charge-batch.ts';
import { type Account, addAccount, testDatabase } from '../support/database.ts';
import { clickRecord, unreadableRecord } from '../support/records.ts';
import { testApi } from './api-client.ts';

const database = testDatabase();
const api = testApi(database);
/** A click id of a day that the ledger never had. */
const UNKNOWN = uuidV7(Date.UTC(2020, 0, 1));
const NO_ID = 2_000_000_000;
const DAY = new Date().toISOString().slice(0, 10);
const MONTH = DAY.slice(0, 7);

let mine: Account;
let other: Account;
let charged = '';
let credited = '';
let foreign = '';
/** A key that sees `mine` only. */
let restricted = '';
const asMine = (url: string) => api.send('GET', url, { key: restricted });

beforeAll(async () => {
  mine = await addAccount(database.pool);
  other = await addAccount(database.pool);
  await addBudgetEntry(database.pool, mine.advertiser.id, 'top_up', 5_000_000n, 'invoice-1');
  const clicks = [mine, mine, other].map(({ ad }) => clickRecord({ ad }));
  await chargeBatch(database.pool, [...clicks, unreadableRecord(Buffer.from('no click'))]);
  [charged = '', credited = '', foreign = ''] = clicks.map(({ click }) => click.clickId);
  restricted = await api.addKey({ role: 'viewer', advertiserIds: [mine.advertiser.id] });
});

describe('GET /v1/reports', () => {
  it('is the report of the command line', async () => {
    const { status, body } = await api.send('GET', `/v1/reports?since=${DAY}&by=advertiser,outcome`);
    const {
      asOf: _,
      until,
      ...report
    } = reportJson(
      await readReport(database.pool, {
        since: DAY,
        until: new Date(body.until),
        by: ['advertiser', 'outcome'],
      }),
    );
    expect(status).toBe(200);
    expect(body).toMatchObject(report);
    expect(body.rows).toHaveLength(2);
    expect(body.until).toBe(until);
  });

  it('shows a restricted key its advertiser alone', async () => {
    const { body } = await asMine(`/v1/reports?since=${DAY}&by=advertiser`);
    expect(body.rows).toMatchObject([{ advertiserId: mine.advertiser.id, clicks: 2, charged: '0.50' }]);
    const foreignOnes = [
      [`advertiserId=${other.advertiser.id}`, `advertiserId=${NO_ID}`],
      [`campaignId=${other.campaign.id}`, `campaignId=${NO_ID}`],
      [`adId=${other.ad.id}`, `adId=${NO_ID}`],
    ] as const;
    for (const [existing, missing] of foreignOnes) {
      const [hidden, unknown] = await Promise.all(
        [existing, missing].map((query) => asMine(`/v1/reports?since=${DAY}&${query}`)),
      );
      expect(hidden?.status).toBe(404);
      const id = existing.split('=')[1] ?? '';
      expect(JSON.stringify(hidden?.body)).toBe(JSON.stringify(unknown?.body).replace(String(NO_ID), id));
    }
  });

  it('asks a key of several advertisers for one of them', async () => {
    const key = await api.addKey({
      role: 'viewer',
      advertiserIds: [mine.advertiser.id, other.advertiser.id],
    });
    const { status, body } = await api.send('GET', `/v1/reports?since=${DAY}`, { key });
    expect([status, body.detail]).toEqual([400, expect.stringContaining('expected one of the advertisers')]);
    const one = await api.send('GET', `/v1/reports?since=${DAY}&advertiserId=${other.advertiser.id}`, {
      key,
    });
    expect(one.body.rows).toMatchObject([{ clicks: 1 }]);
  });

  it.each([
    ['no since', '', 'Expected a string'],
    ['another key', `since=${DAY}&by=browser`, 'expected some of hour, day'],
    ['a day of no calendar', 'since=2026-02-30', 'Expected a day of the calendar'],
    ['an end before the start', `since=${DAY}&until=2020-01-01`, 'Expected an end (until) after'],
    ['an unknown parameter', `since=${DAY}&colour=blue`, 'Expected no value of this name'],
  ])('refuses %s', async (_, query, detail) => {
    const { status, body } = await api.send('GET', `/v1/reports?${query}`);
    expect([status, body.detail]).toEqual([400, expect.stringContaining(detail)]);
  });
});

describe('GET /v1/advertisers/{advertiserId}/statements/{month}', () => {
  it('is the statement of the command line', async () => {
    const { body } = await asMine(`/v1/advertisers/${mine.advertiser.id}/statements/${MONTH}`);
    const { asOf: _, ...statement } = statementJson(
      await readStatement(database.pool, mine.advertiser.id, MONTH),
    );
    expect(body).toMatchObject(statement);
    expect(body).toMatchObject({ charges: [{ clicks: 2, amount: '0.50' }], closing: '104.50' });
  });

  it('hides those of others, and refuses months that are none or to come', async () => {
    expect(await asMine(`/v1/advertisers/${other.advertiser.id}/statements/${MONTH}`)).toMatchObject({
      status: 404,
      body: { code: 'unknown_advertiser' },
    });
    for (const month of ['2026-13', '9999-12']) {
      const { status } = await asMine(`/v1/advertisers/${mine.advertiser.id}/statements/${month}`);
      expect(status).toBe(400);
    }
  });
});

describe('GET /v1/clicks/{reference}', () => {
  it('tells what happened to a click', async () => {
    await rollUp(database.pool);
    expect((await asMine(`/v1/clicks/${charged}`)).body).toMatchObject({
      clickId: charged,
      state: 'settled',
      outcome: 'charged',
      charged: '0.25',
      advertiserId: mine.advertiser.id,
    });
  });

  it('answers alike for a click of another advertiser and for one that does not exist', async () => {
    const [hidden, unknown] = await Promise.all([foreign, UNKNOWN].map((id) => asMine(`/v1/clicks/${id}`)));
    expect(hidden?.status).toBe(404);
    expect(JSON.stringify(hidden?.body)).toBe(JSON.stringify(unknown?.body).replace(UNKNOWN, foreign));
    expect((await api.send('GET', `/v1/clicks/${foreign}`)).body).toMatchObject({ outcome: 'charged' });
  });

  it('says that a click is unknown, and what was checked', async () => {
    expect(await api.send('GET', `/v1/clicks/${UNKNOWN}`)).toMatchObject({
      status: 404,
      body: { code: 'unknown_click', detail: expect.stringContaining('The ledger has no clicks of') },
    });
    expect(await api.send('GET', '/v1/clicks/5')).toMatchObject({
      status: 400,
      body: { code: 'bad_click_id' },
    });
  });
});

describe('POST /v1/clicks/{clickId}/credit', () => {
  it('credits a click once', async () => {
    const url = `/v1/clicks/${credited}/credit`;
    const first = await api.send('POST', url);
    expect(first).toMatchObject({
      status: 201,
      body: { clickId: credited, amount: '0.25', currency: 'USD', entered: true, remaining: '104.75' },
    });
    expect(await api.send('POST', url)).toMatchObject({
      status: 200,
      body: { ...first.body, entered: false },
    });
  });

  it('answers a restricted key alike for clicks of others and for none', async () => {
    const key = await api.addKey({ role: 'finance', advertiserIds: [mine.advertiser.id] });
    const [hidden, unknown] = await Promise.all(
      [foreign, UNKNOWN].map((id) => api.send('POST', `/v1/clicks/${id}/credit`, { key })),
    );
    expect(hidden?.status).toBe(404);
    expect(JSON.stringify(hidden?.body)).toBe(JSON.stringify(unknown?.body).replace(UNKNOWN, foreign));
  });
});

describe('/v1/dead-letters', () => {
  it('lists, shows, redrives and discards rejected records', async () => {
    const { items } = (await api.send('GET', '/v1/dead-letters')).body;
    const unread = { clickId: null, adId: null, adName: null, advertiserId: null, advertiserName: null };
    expect(items).toMatchObject([{ reason: 'malformed', ...unread, discardedAt: null }]);
    const url = `/v1/dead-letters/${items[0].id}`;
    const raw = Buffer.from('no click').toString('base64');
    expect((await api.send('GET', url)).body).toEqual({ ...items[0], raw });
    // It is rejected again, and keeps its dead letter.
    expect((await api.send('POST', `${url}/redrive`)).body).toEqual({
      outcome: 'rejected',
      reason: 'malformed',
    });
    expect((await api.send('GET', url)).body).toMatchObject({ raw });
    const discarded = await api.send('POST', `${url}/discard`);
    expect(discarded.body).toMatchObject({ id: items[0].id, discardedAt: expect.any(String) });
    expect((await api.send('GET', url)).body).toMatchObject({ raw: null });
    expect((await api.send('GET', '/v1/dead-letters')).body).toEqual({ items: [], nextCursor: null });
    expect(await api.send('POST', `${url}/redrive`)).toMatchObject({
      status: 409,
      body: { code: 'already_discarded' },
    });
  });

  it('refuses ids that are none', async () => {
    expect(await api.send('GET', '/v1/dead-letters/999')).toMatchObject({ status: 404 });
    expect(await api.send('GET', '/v1/dead-letters/0')).toMatchObject({ status: 400 });
  });
});

describe('GET /v1/exports/clicks', () => {
  const get = (query: string, key = api.adminKey) =>
    api.app.inject({
      url: `/v1/exports/clicks?since=${DAY}T00:00:00Z&${query}`,
      headers: { authorization: `Bearer ${key}` },
    });

  it('streams what was settled, and says up to when', async () => {
    await expect
      .poll(async () => (await get('')).body.trim().split('\n').length)
      // Three clicks, a rejected record, a credit.
      .toBe(5);
    const { body, headers } = await get('', restricted);
    const rows = body
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line));
    expect(rows).toHaveLength(3);
    expect(new Set(rows.map(({ advertiserId }) => advertiserId))).toEqual(new Set([mine.advertiser.id]));
    expect(headers['content-type']).toBe('application/x-ndjson');
    const until = String(headers['tollway-until']);
    expect(Date.parse(until)).toBeLessThanOrEqual(Date.now());
    const next = await api.app.inject({
      url: `/v1/exports/clicks?since=${until}&format=csv`,
      headers: { authorization: `Bearer ${restricted}` },
    });
    expect(next.body.split('\n')).toEqual([expect.stringMatching(/^clickId,nonce,/), '']);
  });

  it('refuses a beginning in the future', async () => {
    const { status, body } = await api.send('GET', '/v1/exports/clicks?since=2999-01-01T00:00:00Z');
    expect([status, body.code]).toEqual([400, 'bad_window']);
  });
});

describe('GET /v1/reconciliation', () => {
  it('says whether the books balance', async () => {
    for (const deep of [false, true]) {
      const { status, body } = await api.send('GET', `/v1/reconciliation?deep=${deep}`);
      expect(status).toBe(200);
      expect(body).toMatchObject({ balanced: true, missing: 0, problems: [] });
      expect(body.advertisers).toMatchObject([
        { id: mine.advertiser.id, spent: '0.50', charged: deep ? '0.50' : null, balanced: true },
        { id: other.advertiser.id },
      ]);
    }
  });

  it('is not for restricted keys', async () => {
    expect((await asMine('/v1/reconciliation')).status).toBe(403);
  });
});
