import { beforeAll, describe, expect, it } from 'vitest';
import { ricIsMissing } from '../../emulators/lambda/runtime-client.ts';
import type { Server } from '../brokers/broker.ts';
import { postgresDriver } from '../brokers/postgres-broker.ts';
import { isSkipped } from '../support/skipped.ts';
import { builtFunctions } from './bundles.ts';
import { FOREIGN_EVENTS, httpApiEvent } from './http-events.ts';
import { type RedirectEnvironment, type Settings, withRedirect } from './redirect-environment.ts';

const root = builtFunctions();
let server: Server;
beforeAll(async () => {
  server = await postgresDriver.start();
});

const skipped = isSkipped(await ricIsMissing());
/** Timeout that includes compiling AWS's runtime client if it is not cached. */
const RUN_MS_MAX = 120_000;

const on = (what: string, work: (environment: RedirectEnvironment) => Promise<void>) =>
  it.skipIf(skipped)(what, () => withRedirect(root, server, work), RUN_MS_MAX);

describe('the redirect function reports invalid input', () => {
  on('an event of another service', async ({ lambda, click }) => {
    for (const [kind, event] of Object.entries(FOREIGN_EVENTS)) {
      const result = await lambda.invoke(event);
      expect(result, kind).toMatchObject({
        error: {
          errorMessage: expect.stringMatching(
            /^lambda-redirect: version, rawPath and .*: expected .*, got ./,
          ),
        },
      });
    }
    expect((await click()).status).toBe(302);
    expect(lambda.starts()).toBe(1);
  });

  on('but not requests that lack only unused fields', async ({ send, evergreen }) => {
    const { requestContext, ...event } = httpApiEvent({ path: evergreen() });
    const bare = {
      version: event.version,
      rawPath: event.rawPath,
      requestContext: { http: { method: requestContext.http.method } },
    };
    expect(await send(bare)).toMatchObject({
      status: 302,
      clickId: expect.stringMatching(/^[0-9a-f-]{36}$/),
    });
    const odd = { ...event, requestContext, rawQueryString: 7, headers: { 'user-agent': 7, referer: null } };
    expect(await send(odd)).toMatchObject({ status: 302 });
  });

  it.skipIf(skipped).each<[string, Settings, RegExp]>([
    [
      'no keys',
      { LINK_KEYS: undefined },
      /^lambda-redirect: LINK_KEYS: expected the keys of the links, got nothing/,
    ],
    [
      'bad keys',
      { LINK_KEYS: 'k1:signs:c2hvcnQ' },
      /^lambda-redirect: .*LINK_KEYS: key 1 \(k1\): expected a base64url/s,
    ],
    ['no database', { DATABASE_URL: undefined }, /^lambda-redirect: DATABASE_URL: expected .*, got nothing/],
    ['a bad database', { DATABASE_URL: 'mysql://x' }, /^lambda-redirect: .*DATABASE_URL: expected/s],
    [
      'bad brokers',
      { BROKER: 'kafka', KAFKA_BROKERS: 'nowhere' },
      /^lambda-redirect: .*KAFKA_BROKERS: expected/s,
    ],
    [
      'a bad wait',
      { REDIRECT_WAIT_MS: '0' },
      /^lambda-redirect: .*REDIRECT_WAIT_MS: expected a whole number of 50–20000/s,
    ],
    [
      'a missing error page',
      { ERROR_PAGE_FILE: '/opt/missing.html' },
      /^ERROR_PAGE_FILE: expected a file that can be read, got ENOENT/,
    ],
  ])('settings: %s', (_, env, message) =>
    withRedirect(
      root,
      server,
      async ({ lambda, evergreen }) => {
        const event = httpApiEvent({ path: evergreen() });
        for (let count = 0; count < 2; count += 1) {
          const result = await lambda.invoke(event);
          expect(result).toMatchObject({ error: { errorMessage: expect.stringMatching(message) } });
        }
        expect(lambda.logs()).not.toContain('c2hvcnQ');
      },
      env,
    ),
  );

  it.skipIf(skipped)('a misspelt setting, only once', () =>
    withRedirect(
      root,
      server,
      async ({ lambda, click }) => {
        await lambda.invoke(httpApiEvent({ path: '/c/x' }));
        await click().catch(() => null);
        expect(lambda.logs().split('The environment variable LINK_KEY is not a setting')).toHaveLength(2);
      },
      { LINK_KEYS: undefined, LINK_KEY: 'k1:signs:c2hvcnQ' },
    ),
  );
});
