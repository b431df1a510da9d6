import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { addSamples } from '../../cli/samples.ts';
import { sleep } from '../../common/process.ts';
import { uuidV7 } from '../../common/uuid.ts';
import { clicksDue, totalClicks } from '../../console/samples/sample-run.ts';
import { readTokenUnverified } from '../../contract/link-token.ts';
import { setAdvertiserStatus } from '../../ledger/accounts/advertisers.ts';
import { testDatabase } from '../support/database.ts';
import { testApi } from './api-client.ts';
import { OWNER_SETTINGS } from './owners.ts';

describe('the clicks that are due', () => {
  const run = { ratePerSecond: 300, seconds: 30, spike: false };

  it('are spread over the run', () => {
    expect([0, 1_000, 1_500, 30_000, 99_000].map((ms) => clicksDue(run, ms))).toEqual([
      0, 300, 450, 9_000, 9_000,
    ]);
  });

  it('of a spike are ten times as many in the middle third', () => {
    const spike = { ...run, spike: true };
    expect([10_000, 15_000, 20_000].map((ms) => clicksDue(spike, ms))).toEqual([300, 1_800, 3_300]);
    expect(totalClicks(spike)).toBe(3_600);
  });
});

/** Stands for the ad server, and keeps the requests. */
const requests: { readonly url: string; readonly agent: string }[] = [];
let answer = (response: ServerResponse) => void response.end();
const server: Server = createServer((request: IncomingMessage, response) => {
  requests.push({ url: request.url ?? '', agent: request.headers['user-agent'] ?? '' });
  answer(response);
});
const database = testDatabase();
const settings: Record<string, string> = { ...OWNER_SETTINGS };
beforeAll(async () => {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  settings.PUBLIC_URL = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});
const api = testApi(database, settings);
afterAll(() => new Promise((resolve) => server.close(resolve)));

beforeEach(() => {
  requests.length = 0;
  answer = (response) => void response.writeHead(302, { location: '/', 'tollway-click': uuidV7() }).end();
});

const start = (body: object) => api.send('POST', '/v1/samples', { body });
const latest = async () => {
  const { status, body } = await api.send('GET', '/v1/samples');
  expect(status).toBe(200);
  return body;
};
const hasEnded = () =>
  expect.poll(async () => (await latest()).state, { timeout: 15_000, interval: 100 }).not.toBe('running');

describe('runs of sample clicks', () => {
  it('need an active sample ad', async () => {
    expect(await latest()).toMatchObject({ state: 'none', runId: null, sent: 0 });
    expect(await start({})).toMatchObject({ status: 409, body: { code: 'no_samples' } });
    await addSamples(database.pool);
    for (const id of [1, 2, 3]) await setAdvertiserStatus(database.pool, id, 'paused');
    expect(await start({})).toMatchObject({ status: 409, body: { code: 'no_samples' } });
    for (const id of [1, 3]) await setAdvertiserStatus(database.pool, id, 'active');
  });

  it('send signed links of the active ads once each, as browsers and some bots, and count the answers', async () => {
    const started = await start({ ratePerSecond: 100, seconds: 1 });
    expect(started).toMatchObject({ status: 202, body: { state: 'running', total: 100 } });
    await hasEnded();
    expect(await latest()).toMatchObject({
      ...{ state: 'finished', runId: started.body.runId, sent: 100, answered: 100, failed: 0, bots: 4 },
      summary: 'The console sent 100 clicks, 4 of them as a bot; 100 were recorded and redirected.',
    });
    expect(requests).toHaveLength(100);
    expect(new Set(requests.map(({ url }) => url)).size).toBe(100);
    const links = requests.map(({ url }) => readTokenUnverified(url.replace('/c/', '')));
    expect(new Set(links.map((link) => link?.adId))).toEqual(new Set([1, 3]));
    expect(requests.filter(({ agent }) => agent.includes('Chrome/')).length).toBe(96);
  });

  it('are one at a time, and can be stopped', async () => {
    const { body } = await start({ ratePerSecond: 10, seconds: 60 });
    expect(await start({})).toMatchObject({ status: 409, body: { code: 'samples_running' } });
    expect(await api.send('DELETE', '/v1/samples')).toMatchObject({
      status: 200,
      body: { runId: body.runId, state: 'stopped', summary: expect.stringContaining('The run was stopped.') },
    });
    await start({ ratePerSecond: 1, seconds: 1 });
    await hasEnded();
    expect(await latest()).toMatchObject({ state: 'finished', sent: 1 });
  });

  it('count what was not recorded or not answered, with the reason', async () => {
    answer = (response) => void response.writeHead(503).end();
    await start({ ratePerSecond: 10, seconds: 1 });
    await hasEnded();
    expect(await latest()).toMatchObject({ answered: 0, failed: 10 });
    expect((await latest()).summary).toContain('10 failed, the latest with: status 503.');
    answer = (response) => void response.destroy();
    await start({ ratePerSecond: 10, seconds: 1 });
    await hasEnded();
    expect(await latest()).toMatchObject({ state: 'finished', answered: 0, failed: 10 });
  });

  it.each([
    ['says so', { 'tollway-click': 'none' }],
    ['is no ad server', {}],
  ])('count redirects that recorded no click by themselves: the server %s', async (_, headers) => {
    answer = (response) => void response.writeHead(302, { location: '/', ...headers }).end();
    await start({ ratePerSecond: 10, seconds: 1 });
    await hasEnded();
    expect(await latest()).toMatchObject({
      ...{ answered: 0, unrecorded: 10, failed: 0 },
      summary:
        'The console sent 10 clicks; 0 were recorded and redirected. 10 were redirected, but not recorded.',
    });
  });

  it('send the clicks that an ad server was too slow for later', { timeout: 20_000 }, async () => {
    const held: ServerResponse[] = [];
    const redirects = answer;
    answer = (response) => void held.push(response);
    await start({ ratePerSecond: 500, seconds: 1 });
    await expect.poll(async () => (await latest()).sent, { timeout: 5_000 }).toBe(256);
    await sleep(1_200);
    answer = redirects;
    for (const response of held) redirects(response);
    await hasEnded();
    expect(await latest()).toMatchObject({ state: 'finished', sent: 500, answered: 500, failed: 0 });
  });

  it('do not delay the requests of the console', { timeout: 20_000 }, async () => {
    await start({ ratePerSecond: 1_000, seconds: 2 });
    let longest = 0;
    for (;;) {
      const beganAt = performance.now();
      const { state } = await latest();
      longest = Math.max(longest, performance.now() - beganAt);
      if (state !== 'running') break;
      // Without a pause the requests reach the limit of their key.
      await sleep(20);
    }
    expect(longest).toBeLessThan(1_000);
    expect(await latest()).toMatchObject({ sent: 2_000, failed: 0 });
  });

  it('do not start if the answer cannot be stored', async () => {
    const before = await latest();
    requests.length = 0;
    await database.pool.query(
      "alter table api_answer add constraint no_answers check (status = 0 or idempotency_key <> 'refused')",
    );
    const body = { ratePerSecond: 100, seconds: 1 };
    const again = (key: string) =>
      api.send('POST', '/v1/samples', { body, headers: { 'idempotency-key': key } });
    expect(await again('refused')).toMatchObject({ status: 500 });
    expect(await latest()).toEqual(before);
    await sleep(300);
    expect(requests).toEqual([]);
    // It does not block the next one, which runs once.
    expect(await again('stored')).toMatchObject({ status: 202 });
    await hasEnded();
    expect(await again('stored')).toMatchObject({ status: 202 });
    expect(await latest()).toMatchObject({ state: 'finished', sent: 100 });
  });

  it('belong to the request that planned them, though another one was stopped', async () => {
    await database.pool.query(`
      create function wait_for_commit() returns trigger language plpgsql as $$
      begin perform pg_sleep(new.idempotency_key::float8); return null; end $$;
      create constraint trigger slow_commit after update on api_answer deferrable initially deferred
        for each row when (new.idempotency_key ~ '^[0-9.]+$') execute function wait_for_commit()`);
    const send = (key: string, ratePerSecond: number) =>
      api.send('POST', '/v1/samples', {
        ...{ body: { ratePerSecond, seconds: 1 }, headers: { 'idempotency-key': key } },
      });
    const commits = async () => {
      const { rowCount } = await database.pool.query(
        "select from pg_stat_activity where datname = current_database() and wait_event = 'PgSleep'",
      );
      return rowCount;
    };
    const stopped = send('2.5', 30);
    await expect.poll(commits, { timeout: 5_000 }).toBe(1);
    await api.send('DELETE', '/v1/samples');
    const planned = send('3.5', 10);
    await expect.poll(commits, { timeout: 2_000 }).toBe(2);
    expect((await stopped).status).toBe(202);
    const { body } = await planned;
    await hasEnded();
    expect(await latest()).toMatchObject({ runId: body.runId, state: 'finished', total: 10, sent: 10 });
    expect(await send('3.5', 10)).toMatchObject({ status: 202, body });
    // This run never began: the answer of its request is not repeated.
    expect(await send('2.5', 30)).toMatchObject({ status: 409, body: { code: 'samples_unknown' } });
  });

  it('are refused with values out of range', async () => {
    for (const body of [{ ratePerSecond: 2_001 }, { ratePerSecond: 0 }, { seconds: 61 }, { spike: 1 }])
      expect(await start(body)).toMatchObject({ status: 400 });
  });
});
