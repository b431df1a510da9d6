import { pino } from 'pino';
import { afterAll, describe, expect, it } from 'vitest';
import { parseConfig } from '../../common/config/config.ts';
import { createPool } from '../../common/postgres/postgres.ts';
import { createMetrics } from '../../common/telemetry/metrics.ts';
import { createApp } from '../../console/api/app.ts';
import { createKey } from '../../ledger/access/api-keys.ts';
import { createLoginLink } from '../../ledger/access/login-links.ts';
import { changeAs } from '../../ledger/actor.ts';
import { testDatabase } from '../support/database.ts';

const database = testDatabase();

describe('The log of the console at the level trace', () => {
  const closing: (() => Promise<void>)[] = [];
  afterAll(() => Promise.all(closing.map((close) => close())));

  /** A pool whose role may not read the tables, so that each query fails in a way that nothing expects. */
  function poolWithoutRights() {
    const url = new URL(database.url);
    url.searchParams.set('options', '-c role=pg_monitor');
    const pool = createPool(url.href, 'test', 1, () => {});
    closing.push(() => pool.end());
    return pool;
  }

  /** An application whose log lines are collected. */
  async function loggedApp(pool: typeof database.pool) {
    const lines: string[] = [];
    const logger = pino({ level: 'trace' }, { write: (line: string) => void lines.push(line) });
    const app = await createApp({
      pool,
      longPool: pool,
      config: parseConfig({}),
      metrics: createMetrics(),
      logger,
    });
    closing.push(() => app.close());
    return { app, lines };
  }

  it('has no key, whether requests succeed, are refused or fail', async () => {
    const { key } = await createKey(database.pool, { name: 'a key', role: 'admin' });
    const secret = key.slice(-43);
    const broken = poolWithoutRights();
    const [working, failing] = [await loggedApp(database.pool), await loggedApp(broken)];
    const statuses = [];
    for (const { app } of [working, failing])
      for (const [url, authorization] of [
        ['/v1/keys', `Bearer ${key}`],
        ['/v1/keys', `Bearer ${key}x`],
        ['/v1/keys', `Basic ${key}`],
        [`/v1/keys?key=${key}`, `Bearer ${key}`],
        ['/nothing', `Bearer ${key}`],
      ] as const) {
        const answer = await app.inject({ url, headers: { authorization } });
        statuses.push(answer.statusCode);
        if (!url.includes('?')) expect(answer.body + JSON.stringify(answer.headers)).not.toContain(secret);
      }
    expect(statuses).toEqual([200, 401, 401, 400, 404, 500, 401, 401, 500, 404]);
    expect(failing.lines.length).toBeGreaterThan(0);
    expect([...working.lines, ...failing.lines].join('')).not.toContain(secret);
  });

  it('has no token of a session or a login link, whether requests succeed, are refused or fail', async () => {
    const { key } = await createKey(database.pool, { name: 'a key', role: 'admin' });
    const { token: login } = await changeAs(database.pool, { type: 'cli', user: 'x' }, (connection) =>
      createLoginLink(connection),
    );
    const broken = poolWithoutRights();
    const [working, failing] = [await loggedApp(database.pool), await loggedApp(broken)];
    const statuses = [];
    const cookies: string[] = [];
    for (const { app } of [failing, working])
      for (const payload of [{ login }, { login }, { key }, { key: `${key}x` }, { login: [login] }]) {
        const answer = await app.inject({ method: 'POST', url: '/v1/session', payload });
        statuses.push(answer.statusCode);
        expect(answer.body).not.toContain(key.slice(-43));
        expect(answer.body).not.toContain(login);
        cookies.push(...answer.cookies.map(({ value }) => value).filter((value) => value.length > 0));
      }
    for (const { app } of [failing, working])
      for (const cookie of cookies)
        statuses.push(
          (await app.inject({ url: '/v1/keys', headers: { cookie: `tollway_session_8083=${cookie}` } }))
            .statusCode,
        );
    expect(statuses).toEqual([500, 500, 500, 401, 400, 201, 401, 201, 401, 400, 500, 500, 200, 200]);
    const logged = [...working.lines, ...failing.lines].join('');
    for (const secret of [key.slice(-43), login, ...cookies]) expect(logged).not.toContain(secret);
  });
});
