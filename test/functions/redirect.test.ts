import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { uuidV7 } from '../../common/uuid.ts';
import type { ClickEvent } from '../../contract/click-event.ts';
import { evergreenLink } from '../../contract/link-token.ts';
import { ricIsMissing } from '../../emulators/lambda/runtime-client.ts';
import { updateAd } from '../../ledger/accounts/ads.ts';
import type { Server } from '../brokers/broker.ts';
import { postgresDriver } from '../brokers/postgres-broker.ts';
import { adServerFixture } from '../support/ad-server-fixture.ts';
import { exchange, get } from '../support/raw-http.ts';
import { isSkipped } from '../support/skipped.ts';
import { suiteFolder } from '../support/temporary-folder.ts';
import { builtFunctions } from './bundles.ts';
import { CHROME, functionUrlEvent } from './http-events.ts';
import {
  pathOf,
  putToSleep,
  type RedirectEnvironment,
  type Settings,
  SLEEPER,
  withRedirect,
} from './redirect-environment.ts';

const root = builtFunctions();
const errorPageFile = join(suiteFolder(), 'error.html');
writeFileSync(errorPageFile, '{status} {title}: {message}');
let server: Server;
beforeAll(async () => {
  server = await postgresDriver.start();
});

const skipped = isSkipped(await ricIsMissing());
/** Timeout that includes compiling AWS's runtime client if it is not cached. */
const RUN_MS_MAX = 120_000;
const DAY_MS = 86_400_000;
const WAIT_MS = 1_000;
/** Time that an answer can take beyond `REDIRECT_WAIT_MS`, also the first one, because other tests use the machine. */
const SLACK_MS = 700;
const COLD_MS = 2_000;
const POLL = { timeout: 15_000, interval: 50 };

const on = (what: string, work: (environment: RedirectEnvironment) => Promise<void>, env: Settings = {}) =>
  it.skipIf(skipped)(what, () => withRedirect(root, server, work, env), RUN_MS_MAX);

/** The recorded events of some clicks, in their order. */
async function eventsOf(
  environment: RedirectEnvironment,
  clicks: readonly { clickId: string | undefined }[],
): Promise<(ClickEvent | undefined)[]> {
  const held = await environment.settle(clicks.length);
  expect(held).toHaveLength(clicks.length);
  return clicks.map(({ clickId }) => held.find(({ key }) => key === clickId)?.click);
}

describe('a click has the same invalid reasons as in the ad server', () => {
  on(
    'clicks of bots, expired links, paused ads and double clicks are redirected and not charged',
    async (environment) => {
      const { click, evergreen, ads, database } = environment;
      const madeAt = Date.now() - 2 * DAY_MS;
      const adId = ads[0]?.id ?? 0;
      const expired = pathOf({ adId, publisher: null, nonce: uuidV7(madeAt), expiresAt: madeAt + DAY_MS });
      const tooOld = pathOf({
        adId,
        publisher: null,
        nonce: uuidV7(Date.now() - 91 * DAY_MS),
        expiresAt: Date.now() + DAY_MS,
      });
      await database.pool.query(`update ad set status = 'paused' where id = $1`, [ads[1]?.id]);
      const clicks = [
        await click(),
        await click({ query: 'again' }),
        await click({ sourceIp: '198.51.100.78' }),
        await click({ headers: { 'User-Agent': 'Twitterbot/1.0' } }),
        await click({ path: expired }),
        await click({ path: tooOld }),
        await click({ path: evergreen(1) }),
        await click({ headers: {} }),
      ];
      expect(clicks.map(({ status }) => status)).toEqual(Array(8).fill(302));
      const events = await eventsOf(environment, clicks);
      expect(events.map((event) => event?.invalid)).toEqual([
        null,
        'double_click',
        null,
        'bot',
        'expired',
        'expired',
        'paused',
        null,
      ]);
      expect(events.at(-1)).toMatchObject({ userAgent: null });
    },
    { DOUBLE_CLICK_MS: '60000' },
  );

  on(
    'HEAD and prefetches are not clicks, and the next click is not a double click',
    async (environment) => {
      const { click } = environment;
      const head = await click({ method: 'HEAD' });
      expect(head).toMatchObject({ status: 302, clickId: 'none', body: '' });
      expect(head.headers.Location).toMatch(/^https:\/\/example\.com\/\?click=[0-9a-f-]{36}$/);
      for (const prefetch of [
        { 'Sec-Purpose': 'prefetch;prerender' },
        { purpose: 'prefetch' },
        { 'X-MOZ': 'prefetch' },
      ]) {
        const { status, clickId, headers } = await click({ headers: { 'user-agent': CHROME, ...prefetch } });
        expect({ status, clickId }).toEqual({ status: 503, clickId: 'none' });
        expect(headers['Cache-Control']).toBe('no-store');
      }
      expect(await click({ method: 'HEAD', path: '/c/x' })).toMatchObject({ status: 404, body: '' });
      const [event] = await eventsOf(environment, [await click()]);
      expect(event?.invalid).toBeNull();
    },
    { DOUBLE_CLICK_MS: '60000' },
  );

  on('invalid links are answered with 404 without looking up an ad', async (environment) => {
    const { click, evergreen, impression } = environment;
    const good = evergreen();
    const [, , adId = ''] = good.split('.');
    const bad = [
      '/c',
      '/c/',
      '/favicon.ico',
      '/C/x',
      '/c/%00',
      `/c/${'A'.repeat(10_000)}`,
      `${good}A`,
      good.slice(0, -1),
      good.replace(`.${adId}.`, `.${Number(adId) + 1}.`),
      impression().replace(/\.(\d+)\.([^.]+)$/, (_, expiry, tag) => `.${Number(expiry) + 1}.${tag}`),
    ];
    for (const path of bad) {
      const { status, clickId, body, headers } = await click({ path });
      expect({ path, status, clickId }).toEqual({ path, status: 404, clickId: 'none' });
      expect(headers['Content-Type']).toContain('text/html');
      expect(body).toContain('<');
    }
    expect((await environment.database.pool.query('select from broker_chunk')).rowCount).toBe(0);
    expect(await connections(environment)).toBe(0);
  });

  on(
    'the start page is the same as in the ad server, and error pages use the template',
    async ({ click, send }) => {
      const { port } = await adServerFixture({ errorPageFile });
      const [start, missing] = await Promise.all([exchange(port, get('/')), exchange(port, get('/c/x'))]);
      for (const answer of [await click({ path: '/' }), await send(functionUrlEvent({ path: '/' }))]) {
        expect(answer).toMatchObject({ status: 200, clickId: 'none', body: start[0]?.body });
        expect(answer.headers['Content-Security-Policy']).toBe(start[0]?.headers['content-security-policy']);
      }
      expect(await click({ method: 'HEAD', path: '/' })).toMatchObject({ status: 200, body: '' });
      const notFound = await click({ path: '/c/x' });
      expect(notFound).toMatchObject({ status: 404, body: missing[0]?.body });
      expect(notFound.body).toMatch(/^404 Link not found: /);
    },
    { ERROR_PAGE_FILE: errorPageFile },
  );

  on('other methods are refused, and a link to an unknown ad is answered with 503', async ({ click }) => {
    for (const method of ['POST', 'PUT', 'DELETE', 'OPTIONS']) {
      const { status, headers } = await click({ method });
      expect({ status, allow: headers.Allow }).toEqual({ status: 405, allow: 'GET, HEAD' });
    }
    const unknown = await click({ path: pathOf(evergreenLink(2_000_000_000)) });
    expect(unknown).toMatchObject({ status: 503, clickId: 'none' });
    expect(unknown.headers['Retry-After']).toBe('5');
  });

  on(
    'X-Forwarded-For counts only from trusted proxies, and only the network of a visitor is stored',
    async (environment) => {
      const { click, send, evergreen, lambda } = environment;
      const forwarded = { 'User-Agent': CHROME, 'X-Forwarded-For': '203.0.113.9, 192.0.2.55' };
      const clicks = [
        await click({ headers: forwarded, sourceIp: '10.1.2.3' }),
        await click({ headers: forwarded, sourceIp: '198.51.100.77' }),
        await click({ sourceIp: '2001:db8:1:2:3:4:5:6' }),
        await click({ sourceIp: 'no address' }),
        await send(functionUrlEvent({ path: evergreen(), headers: forwarded, sourceIp: '10.1.2.3' })),
      ];
      const events = await eventsOf(environment, clicks);
      expect(events.map((event) => event?.visitorNetwork)).toEqual([
        '192.0.2.0/24',
        '198.51.100.0/24',
        '2001:db8:1::/48',
        null,
        '192.0.2.0/24',
      ]);
      for (const address of ['192.0.2.55', '198.51.100.77', '2001:db8:1:2:3:4:5:6'])
        expect(JSON.stringify(events) + lambda.logs()).not.toContain(address);
    },
    { TRUSTED_PROXIES: '10.0.0.0/8', DOUBLE_CLICK_MS: '0' },
  );

  on('headers count in upper and lower case, and are stored like in the ad server', async (environment) => {
    const headers = {
      'USER-AGENT': CHROME.padEnd(10_000, 'x'),
      ReFeReR: 'https://publisher.example/page?person=7',
    };
    const [event] = await eventsOf(environment, [await environment.click({ headers })]);
    expect(event).toMatchObject({ userAgent: CHROME.padEnd(512, 'x'), referrerHost: 'publisher.example' });
  });

  on(
    'a query is passed on as in the ad server, and its sub-ids and the publisher are recorded',
    async (environment) => {
      const { ads, click, database } = environment;
      const id = ads[0]?.id ?? 0;
      await updateAd(database.pool, id, { urlTemplate: 'https://example.com/#a', passParameters: ['utm_*'] });
      const path = pathOf(evergreenLink(id, 'example-news'));
      const clicked = await click({ path, query: 'utm_source=a%26b&gclid=1&sub1=summer+sale' });
      expect(clicked).toMatchObject({
        status: 302,
        headers: { Location: 'https://example.com/?utm_source=a%26b#a' },
      });
      const [event] = await eventsOf(environment, [clicked]);
      expect(event).toMatchObject({ publisher: 'example-news', subIds: { sub1: 'summer sale' } });
    },
  );
});

describe('an ad', () => {
  on(
    'is refreshed regularly, and its new price then applies',
    async (environment) => {
      const { click, ads, database } = environment;
      await click();
      await database.pool.query('update ad set price_micros = 990000 where id = $1', [ads[0]?.id]);
      let clicks = 1;
      await expect
        .poll(
          async () => {
            clicks += 1;
            const { clickId } = await click();
            const { rows } = await database.pool.query<{ payload: Buffer }>(
              'select payload from broker_chunk',
            );
            return rows.some(({ payload }) => payload.includes(`${clickId}`) && payload.includes('990000'));
          },
          { timeout: 3_000, interval: 100 },
        )
        .toBe(true);
      expect(clicks).toBeGreaterThan(2);
    },
    { CATALOG_POLL_MS: '1000' },
  );

  on(
    'that is not cached is answered with 503 while the database does not answer, and found later',
    async ({ click, evergreen, proxy, lambda }) => {
      await click();
      proxy.freeze();
      for (const ad of [1, 2, 1]) {
        const { status, headers, milliseconds } = await click({ path: evergreen(ad) });
        expect({ status, after: headers['Retry-After'] }).toEqual({ status: 503, after: '5' });
        expect(milliseconds).toBeLessThan(WAIT_MS + SLACK_MS);
      }
      expect(lambda.logs()).toContain('An ad cannot be read');
      proxy.thawNew();
      await expect.poll(async () => (await click({ path: evergreen(1) })).clickId, POLL).not.toBe('none');
    },
    { REDIRECT_WAIT_MS: String(WAIT_MS) },
  );

  on(
    'that is not cached at the first click is answered with 503, too',
    async ({ click, proxy }) => {
      proxy.freeze();
      const { status, milliseconds } = await click();
      expect(status).toBe(503);
      expect(milliseconds).toBeLessThan(WAIT_MS + COLD_MS);
      proxy.thawNew();
      await expect.poll(async () => (await click()).status, POLL).toBe(302);
    },
    { REDIRECT_WAIT_MS: String(WAIT_MS) },
  );
});

describe('after a long sleep', () => {
  on(
    'connections that were closed silently are not used',
    async ({ click, evergreen, proxy, lambda }) => {
      await click();
      const pid = lambda.pid();
      await putToSleep(lambda);
      proxy.freezeOpen();
      const { status, clickId, milliseconds } = await click({ path: evergreen(1) });
      expect({ status, recorded: clickId !== 'none' }).toEqual({ status: 302, recorded: true });
      expect(milliseconds).toBeLessThan(WAIT_MS);
      expect(lambda.pid()).toBe(pid);
    },
    { REDIRECT_WAIT_MS: String(WAIT_MS), ...SLEEPER },
  );
});

/** Number of connections of other programs to the database of the test. */
async function connections({ database: { pool } }: RedirectEnvironment): Promise<number> {
  const { rows } = await pool.query<{ count: number }>(
    `select count(*)::int as count from pg_stat_activity
     where datname = current_database() and application_name = 'tollway lambda-redirect'`,
  );
  return rows[0]?.count ?? 0;
}
