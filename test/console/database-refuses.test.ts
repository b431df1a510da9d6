import { afterEach, describe, expect, it } from 'vitest';
import { parseConfig } from '../../common/config/config.ts';
import { queryDatabase, READY } from '../../common/part-health.ts';
import { createPool, isDatabaseUnavailable } from '../../common/postgres/postgres.ts';
import { createMetrics } from '../../common/telemetry/metrics.ts';
import { createApp } from '../../console/api/app.ts';
import { createConsolePool } from '../../console/serve.ts';
import { watchDatabase } from '../../console/watch-database.ts';
import { createTestDatabase, testDatabase } from '../support/database.ts';
import { silent } from '../support/loggers.ts';
import { until } from '../support/until.ts';

const database = testDatabase();
const closing: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});

/** The address of the test's server, changed. */
function changed(change: (url: URL) => void): string {
  const url = new URL(database.url);
  change(url);
  return url.href;
}

const pool = (url: string) => {
  const opened = createConsolePool(url, silent);
  closing.push(() => opened.end());
  return opened;
};

const REFUSALS: [string, (url: URL) => void, RegExp][] = [
  ['does not have the database', (url) => (url.pathname = '/none'), /database "none" does not exist/],
  ['does not know the role', (url) => (url.username = 'nobody'), /"nobody"/],
  ['has no TLS', (url) => url.searchParams.set('sslmode', 'require'), /does not support SSL/],
];

describe.each(REFUSALS)('a server that %s', (_, change, reason) => {
  it('gives requests 503, as one that does not answer, and they can be sent again', async () => {
    const refused = pool(changed(change));
    const app = await createApp({
      ...{ pool: refused, longPool: refused, config: parseConfig({}), metrics: createMetrics() },
      logger: silent,
    });
    closing.push(() => app.close());
    const headers = { authorization: `Bearer tollway_1_${'a'.repeat(43)}` };
    const answer = await app.inject({ method: 'GET', url: '/v1/advertisers', headers });
    expect(answer.statusCode).toBe(503);
    expect(answer.json()).toMatchObject({ code: 'database_away' });
    expect(answer.headers['retry-after']).toBe('1');
  });

  it('is a warning of the console with the reason', async () => {
    const watch = watchDatabase(changed(change), silent, () => {});
    closing.push(watch.stop);
    const [problem] = await until('a problem', () => (watch.problems().length > 0 ? watch.problems() : null));
    expect(problem?.reason).toMatch(reason);
  });

  it('has its reason in tollway status, and is known as away by transactions and single queries', async () => {
    const refused = pool(changed(change));
    expect(await queryDatabase(refused)).toMatch(reason);
    for (const attempt of [() => refused.query('select 1'), () => refused.connect()])
      expect(isDatabaseUnavailable(await attempt().catch((error: unknown) => error))).toBe(true);
  });
});

describe('a database', () => {
  it('that is read-only is not ready, since no click can be charged in it', async () => {
    const url = changed((url) => url.searchParams.set('options', '-c default_transaction_read_only=on'));
    expect(await queryDatabase(pool(url))).toBe('read-only: no click can be charged');
    expect(await queryDatabase(database.pool)).toBe(READY);
  });

  it('that has no ledger is not ready, and what to do is said', async () => {
    const url = changed((url) => {
      url.pathname = '/template1';
    });
    expect(await queryDatabase(pool(url))).toBe(
      'has no tables of Tollway: check DATABASE_URL, or run npm run migrate',
    );
  });

  it('that has no ledger gets 503 with what to do, and no time to try again', async () => {
    const empty = pool(
      changed((url) => {
        url.pathname = '/template1';
      }),
    );
    const app = await createApp({
      ...{ pool: empty, longPool: empty, config: parseConfig({}), metrics: createMetrics() },
      logger: silent,
    });
    closing.push(() => app.close());
    const headers = { authorization: `Bearer tollway_1_${'a'.repeat(43)}` };
    const answer = await app.inject({ method: 'GET', url: '/v1/status', headers });
    expect([answer.statusCode, answer.json()]).toEqual([
      503,
      expect.objectContaining({
        code: 'not_migrated',
        detail: expect.stringMatching(/relation "api_key" does not exist\. Check DATABASE_URL, or run npm /),
      }),
    ]);
    expect(answer.headers['retry-after']).toBeUndefined();
  });

  it('of an older version is not ready, and what to do is said', async () => {
    const older = await createTestDatabase();
    closing.push(older.drop);
    expect(await queryDatabase(older.pool)).toBe(READY);
    await older.pool.query('delete from schema_migration where id > 9');
    expect(await queryDatabase(older.pool)).toBe(
      `has tables of an older version (0009_parts): run npm run migrate`,
    );
  });

  it('that answers and whose statement fails is not away', async () => {
    const opened = createPool(database.url, 'test', 1, () => {});
    closing.push(() => opened.end());
    const error = await opened.query('select * from no_such_table').catch((failed: unknown) => failed);
    expect(isDatabaseUnavailable(error)).toBe(false);
  });
});
