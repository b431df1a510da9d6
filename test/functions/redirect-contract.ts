import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { sleep } from '../../common/process.ts';
import { isUuidV7 } from '../../common/uuid.ts';
import { ricIsMissing } from '../../emulators/lambda/runtime-client.ts';
import type { Driver, Server } from '../brokers/broker.ts';
import { drivers } from '../brokers/brokers.ts';
import { expectTrueBooks } from '../brokers/test-environment.ts';
import { isSkipped } from '../support/skipped.ts';
import { builtFunctions } from './bundles.ts';
import { functionUrlEvent } from './http-events.ts';
import {
  type Clicked,
  putToSleep,
  type RedirectEnvironment,
  reported,
  type Settings,
  SLEEPER,
  withRedirect,
} from './redirect-environment.ts';

const root = builtFunctions();

const cannotRun = isSkipped(await ricIsMissing());
/** Timeout that includes starting a broker, and compiling AWS's runtime client if it is not cached. */
const START_MS_MAX = 300_000;
/** Timeout of a first click, which loads the code and connects. */
const WAIT_MS = 1_500;
/** Time that an answer can take beyond `REDIRECT_WAIT_MS`, because other tests use the machine. */
const SLACK_MS = 700;
/** How long a click waits for the refresh of a cached ad. */
const NEWS_MS_MAX = 250;
/** How long an ad is cached in tests that depend on it. */
const FRESH_MS = 1_000;
const POLL = { timeout: 15_000, interval: 50 };

/** Adds a test that runs `work` with the redirect function in an environment of its own. `env` is added to the settings of the function. */
type AddTest = (
  title: string,
  work: (environment: RedirectEnvironment) => Promise<void>,
  env?: Settings,
) => void;
/** The server of the broker. It is started before the tests, and after they are added. */
type GetServer = () => Server;

/** The tests of the redirect function on each broker. There is one file per broker, so that they run in parallel, and each can stop and freeze its server. */
export function testRedirectOn(name: string): void {
  describe(`the redirect function on ${name}`, () => {
    // The last one of Kafka has settings with another client than the one in the bundle.
    const found = drivers.findLast(({ driver }) => driver.name === name);
    if (!found) throw new Error(`Expected a driver of ${name}`);
    const { driver, skipped } = found;
    const left = skipped || cannotRun;
    let running: Server;
    beforeAll(async () => {
      if (!left) running = await driver.start();
    }, START_MS_MAX);
    afterAll(() => running?.stop());
    const server = () => running;
    const on: AddTest = (title, work, env = {}) =>
      it.skipIf(left)(
        title,
        () => withRedirect(root, running, work, { REDIRECT_WAIT_MS: String(WAIT_MS), ...env }),
        START_MS_MAX,
      );

    testRecording(on);
    testSilentBroker(on, server);
    testRefusal(on, server);
    testBrokenConnections(on, driver, server);
    if (driver.canFreeze) {
      testSilentDatabase(on);
      testSleep(on, server);
    }
  });
}

/** A click is published before the answer, and charged once. */
function testRecording(on: AddTest): void {
  on('publishes a click once before it answers, under its id and without a spool id', async (environment) => {
    const { click, send, evergreen, impression, lambda } = environment;
    const cold = await click();
    const pid = lambda.pid();
    const warm = await click({ path: impression(1) });
    const byUrl = await send(functionUrlEvent({ path: evergreen(2) }));
    const inStage = await click({ path: impression(2), stage: 'live', query: 'utm_source=a&b=%00' });
    const mapped = await click({ path: impression(1), mappingKey: 'clicks' });
    const clicks = [cold, warm, byUrl, inStage, mapped];
    for (const clicked of clicks) expectRedirected(clicked);
    expect(lambda.pid()).toBe(pid);
    const held = await environment.settle(clicks.length);
    expect(new Set(held.map(({ key }) => key))).toEqual(new Set(clicks.map(({ clickId }) => clickId)));
    expect(held).toHaveLength(clicks.length);
    for (const { key, click: event, from } of held) {
      expect(from).toBeNull();
      expect(event).toMatchObject({ clickId: key, invalid: null, visitorNetwork: '198.51.100.0/24' });
    }
    const nonces = held.map(({ click: { nonce } }) => nonce).filter((nonce) => nonce !== null);
    expect(new Set(nonces).size).toBe(3);
    expect(await expectTrueBooks(environment)).toMatchObject({
      accepted: 0,
      charged: 0,
      unattributed: 5,
      inFlight: 0,
    });
    await expectSpent(environment, 5);

    // The same record again, as a broker or a retry can deliver it.
    await environment.broker.publishTo(0, held);
    await environment.settle(held.length);
    expect(await expectTrueBooks(environment)).toMatchObject({ unattributed: 5, inFlight: 0 });
    await expectSpent(environment, 5);
  });

  on('charges an impression link once if it is clicked repeatedly', async (environment) => {
    const { click, impression } = environment;
    const path = impression();
    for (const sourceIp of ['198.51.100.1', '203.0.113.1']) await click({ path, sourceIp });
    await environment.settle(2);
    await expectTrueBooks(environment);
    await expectSpent(environment, 1);
  });
}

/** The broker does not answer within `REDIRECT_WAIT_MS`. */
function testSilentBroker(on: AddTest, server: GetServer): void {
  on(
    'redirects without recording if the broker does not answer in time, counts it, and records again later',
    async (environment) => {
      const { click, impression, lambda } = environment;
      expect(await click()).toMatchObject({ status: 302 });
      const pid = lambda.pid();
      const lost: number[] = [];
      await whileBrokerIsFrozen(server(), environment, async () => {
        for (let count = 0; count < 3; count += 1) {
          const { status, clickId, headers, milliseconds } = await click({ path: impression(1) });
          expect({ status, clickId }).toEqual({ status: 302, clickId: 'none' });
          expect(headers.Location).toMatch(/^https:\/\/example\.com\/\?click=/);
          lost.push(milliseconds);
        }
      });
      for (const milliseconds of lost) {
        expect(milliseconds).toBeGreaterThan(WAIT_MS - 50);
        expect(milliseconds).toBeLessThan(WAIT_MS + SLACK_MS);
      }
      // The error must be logged at once, because the sandbox can end at any time.
      expect(reported(lambda, 'tollway_clicks_unrecorded_total')).toBe(3);
      expect(lambda.logs()).toContain('The broker did not confirm a click in time');
      const after = await click({ path: impression(1) });
      expect(after.clickId).not.toBe('none');
      expect(lambda.pid()).toBe(pid);
      // Clicks that were sent but not confirmed can be recorded as well. Each is a separate click.
      const held = await environment.settle(2);
      expect(held.map(({ key }) => key)).toContain(after.clickId);
      await expectTrueBooks(environment);
    },
  );
}

/** The same with the setting that answers 503 when a click cannot be recorded. */
function testRefusal(on: AddTest, server: GetServer): void {
  on(
    'refuses such clicks with SPOOL_FULL=refuse',
    async (environment) => {
      expect((await environment.click()).status).toBe(302);
      await whileBrokerIsFrozen(server(), environment, async () => {
        const { status, clickId, headers, body, milliseconds } = await environment.click({
          path: environment.evergreen(1),
        });
        expect({ status, clickId }).toEqual({ status: 503, clickId: 'none' });
        expect(headers).toMatchObject({ 'Cache-Control': 'no-store' });
        expect(headers).not.toHaveProperty('Location');
        expect(body).toContain('<');
        expect(milliseconds).toBeLessThan(WAIT_MS + SLACK_MS);
      });
      // The second attempt is not a double click, because the first one was not recorded.
      expect((await environment.click({ path: environment.evergreen(1) })).status).toBe(302);
      const held = await environment.settle(2);
      expect(held.map(({ click: { invalid } }) => invalid)).not.toContain('double_click');
    },
    { SPOOL_FULL: 'refuse', DOUBLE_CLICK_MS: '60000' },
  );
}

/** The platform freezes the function between clicks, and its connections break meanwhile. */
function testBrokenConnections(on: AddTest, driver: Driver, server: GetServer): void {
  on('records the first click after it was frozen and its connections were closed', async (environment) => {
    const { click, impression, lambda, proxy } = environment;
    const ids = [(await click()).clickId];
    const pid = lambda.pid();
    for (let count = 0; count < 3; count += 1) {
      await lambda.freeze();
      proxy.breakOpenOnSend();
      if (driver.canFreeze) await server().outage?.(environment.database, async () => undefined);
      // The first ad is cached, so only the broker is queried; for the others the database is queried, too.
      const { status, clickId } = await click({ path: impression(count) });
      expect({ status, recorded: clickId !== 'none' }).toEqual({ status: 302, recorded: true });
      ids.push(clickId);
    }
    expect(lambda.pid()).toBe(pid);
    const held = await environment.settle(ids.length);
    expect(new Set(held.map(({ key }) => key))).toEqual(new Set(ids));
    await expectTrueBooks(environment);
  });
}

/** The database does not answer, while the broker does. */
function testSilentDatabase(on: AddTest): void {
  on(
    'redirects clicks on cached ads while the database does not answer, and answers 503 for others',
    async (environment) => {
      const { click, impression, proxy } = environment;
      await click();
      // The test depends on time: the ad is cached, and old enough to be read again.
      await sleep(FRESH_MS);
      proxy.freeze();
      const clicks = [await click({ path: impression() })];
      for (let count = 0; count < 5; count += 1) clicks.push(await click({ path: impression() }));
      for (const { status, clickId } of clicks)
        expect({ status, recorded: clickId !== 'none' }).toEqual({ status: 302, recorded: true });
      const [first, ...others] = clicks.map(({ milliseconds }) => milliseconds);
      expect(first).toBeLessThan(WAIT_MS);
      // The failed refresh is not repeated for every click.
      expect(Math.min(...others)).toBeLessThan(NEWS_MS_MAX);
      const unknown = await click({ path: impression(1) });
      expect(unknown.status).toBe(503);
      expect(unknown.milliseconds).toBeLessThan(WAIT_MS + SLACK_MS);
      proxy.thawNew();
      await expect.poll(async () => (await click({ path: impression(1) })).status, POLL).toBe(302);
    },
    { CATALOG_POLL_MS: String(FRESH_MS) },
  );
}

/** The function is frozen for long, with requests to the broker in progress. */
function testSleep(on: AddTest, server: GetServer): void {
  on(
    'answers in time after it was frozen for long, even if earlier requests to the broker are unanswered',
    async (environment) => {
      const { click, lambda } = environment;
      await click();
      const pid = lambda.pid();
      await whileBrokerIsFrozen(server(), environment, async () => {
        // A broker that is being frozen can still answer earlier requests.
        await expect.poll(async () => (await click()).clickId, POLL).toBe('none');
        await putToSleep(lambda);
        const { status, milliseconds } = await click();
        expect(status).toBe(302);
        expect(milliseconds).toBeLessThan(WAIT_MS + SLACK_MS);
      });
      await expect.poll(async () => (await click()).clickId, POLL).not.toBe('none');
      expect(lambda.pid()).toBe(pid);
    },
    { ...SLEEPER },
  );
}

/** Freezes the broker while `work` runs. */
async function whileBrokerIsFrozen(
  server: Server,
  { database }: RedirectEnvironment,
  work: () => Promise<void>,
): Promise<void> {
  if (server.freeze) return server.freeze(database, work);
  const blocker = await database.pool.connect();
  try {
    await blocker.query('begin');
    await blocker.query('lock broker_chunk in access exclusive mode');
    await work();
  } finally {
    await blocker.query('rollback');
    blocker.release();
  }
}

/** Expects the redirect of a recorded click. */
function expectRedirected({ status, headers, body, clickId = '' }: Clicked): void {
  expect(isUuidV7(clickId)).toBe(true);
  expect({ status, headers, body }).toEqual({
    status: 302,
    headers: {
      Location: `https://example.com/?click=${clickId}`,
      'Cache-Control': 'no-store',
      'Tollway-Click': clickId,
    },
    body: '',
  });
}

/** Expects this number of charged clicks, each at the price of its ad. */
async function expectSpent({ database, ads }: RedirectEnvironment, count: number): Promise<void> {
  const { rows } = await database.pool.query<{ count: number; micros: bigint }>(
    `select count(*)::int as count, coalesce(sum(charged_micros), 0)::int8 as micros from ledger where outcome = 'charged'`,
  );
  expect(rows[0]).toEqual({ count, micros: BigInt(count) * (ads[0]?.priceMicros ?? 0n) });
}
