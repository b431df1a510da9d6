import { once } from 'node:events';
import { type AddressInfo, connect } from 'node:net';
import fastify, { type FastifyInstance } from 'fastify';
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import { errorCode, errorMessage } from '../../common/errors.ts';
import { createPool, inTransaction } from '../../common/postgres/postgres.ts';
import { assertRule } from '../../console/api/access.ts';
import { createAuthenticator } from '../../console/api/authenticate.ts';
import { CACHED_MS } from '../../console/api/key-cache.ts';
import { sessionCookie } from '../../console/api/session-cookie.ts';
import { createKeyUse } from '../../console/api/use-log.ts';
import { createKey, type Role, readKey, revokeKey } from '../../ledger/access/api-keys.ts';
import { createSession } from '../../ledger/access/console-sessions.ts';
import { addAdvertiser } from '../../ledger/accounts/advertisers.ts';
import { testDatabase } from '../support/database.ts';
import { silent } from '../support/loggers.ts';
import { until } from '../support/until.ts';

const database = testDatabase();
const used: number[] = [];
let app: FastifyInstance;

const cookie = sessionCookie(8083);

beforeAll(async () => {
  app = fastify();
  app.addHook('onRoute', assertRule);
  app.addHook(
    'onRequest',
    createAuthenticator({
      ...{ pool: database.pool, cookie },
      ...{ noteKey: (id) => used.push(id), noteSession: () => {} },
    }),
  );
  app.setErrorHandler((error, _, reply) =>
    reply.code(400).send({ code: errorCode(error), message: errorMessage(error) }),
  );
  app.get('/caller', { config: { access: 'campaigns.read' } }, async ({ caller }) => caller);
  app.get(
    '/limited-as',
    { config: { access: 'campaigns.read' } },
    async (request) => request.authentication.limitedAs,
  );
  app.get('/finance', { config: { access: 'budgets.write' } }, async () => 'ok');
  app.get('/unrestricted', { config: { access: 'status.read' } }, async () => 'ok');
  app.get('/public', { config: { access: 'public' } }, async () => 'ok');
  await app.ready();
});
afterAll(() => app.close());
afterEach(() => vi.restoreAllMocks());

const newKey = async (role: Role = 'viewer', advertiserIds: number[] | null = null) =>
  createKey(database.pool, { name: 'a key', role, advertiserIds });
const get = async (url: string, headers: Record<string, string | string[]> = {}) => {
  const answer = await app.inject({ url, headers });
  return { status: answer.statusCode, body: answer.body };
};
const withKey = (url: string, key: string) => get(url, { authorization: `Bearer ${key}` });
const refused = (code: string, message: string) => ({ status: 400, body: JSON.stringify({ code, message }) });

describe('a request with a key', () => {
  it('has the caller: key, name, role and advertisers', async () => {
    const { id } = await addAdvertiser(database.pool, 'Blue Shoes', 'USD');
    const { id: keyId, key } = await newKey('manager', [id]);
    const { body } = await withKey('/caller', key);
    expect(JSON.parse(body)).toEqual({ keyId, name: 'a key', role: 'manager', advertiserIds: [id] });
    expect(used).toContain(keyId);
    const other = await newKey();
    expect(JSON.parse((await get('/caller', { Authorization: `bEARER   ${other.key}` })).body)).toEqual({
      keyId: other.id,
      name: 'a key',
      role: 'viewer',
      advertiserIds: null,
    });
  });

  it('shares its limits with the sessions of the key, unless the key is for all advertisers', async () => {
    const limitsOf = async ({ id, key }: { readonly id: number; readonly key: string }) => {
      const create = () => inTransaction(database.pool, (connection) => createSession(connection, id));
      const cookies = [await create(), await create()].map(({ token }) => `${cookie.name}=${token}`);
      const answers = [await withKey('/limited-as', key)];
      for (const one of cookies) answers.push(await get('/limited-as', { cookie: one }));
      expect(answers.map(({ status }) => status)).toEqual([200, 200, 200]);
      return new Set(answers.map(({ body }) => body)).size;
    };
    const { id } = await addAdvertiser(database.pool, 'Blue Shoes', 'USD');
    expect(await limitsOf(await newKey('viewer', [id]))).toBe(1);
    expect(await limitsOf(await newKey('viewer'))).toBe(3);
  });

  it('is refused with one text for an unknown id, a wrong secret and a text of another form', async () => {
    const { id, key } = await newKey();
    const other = await newKey();
    const unknown = refused(
      'unauthenticated',
      'Authorization: expected a key of this installation, got an unknown one',
    );
    for (const text of [
      `tollway_${id}_${other.key.slice(-43)}`,
      `tollway_2147483647_${key.slice(-43)}`,
      'secret',
      key.slice(0, -1),
    ])
      expect(await withKey('/caller', text)).toEqual(unknown);
  });

  it('is refused after the key was revoked or has expired, and the text says when', async () => {
    const [revoked, expired] = [await newKey(), await newKey()];
    const { revokedAt } = await revokeKey(database.pool, revoked.id);
    await database.pool.query("update api_key set expires_at = '2026-01-31T12:00:00Z' where id = $1", [
      expired.id,
    ]);
    expect(await withKey('/caller', revoked.key)).toEqual(
      refused(
        'unauthenticated',
        `Authorization: expected an active key, got key ${revoked.id}, which was revoked at ${revokedAt?.toISOString()}`,
      ),
    );
    expect((await withKey('/caller', expired.key)).body).toContain(
      `got key ${expired.id}, which expired at 2026-01-31T12:00:00.000Z`,
    );
    // Without the right secret, a revoked key looks like one that never was.
    expect((await withKey('/caller', `tollway_${revoked.id}_${expired.key.slice(-43)}`)).body).toContain(
      'an unknown one',
    );
    expect(used).not.toContain(revoked.id);
  });

  it('is looked up once a second while it is active', async () => {
    const { id, key } = await newKey();
    const other = await newKey();
    const start = performance.now();
    vi.spyOn(performance, 'now').mockReturnValue(start);
    expect(await withKey('/caller', key)).toMatchObject({ status: 200 });
    await revokeKey(database.pool, id);
    vi.spyOn(performance, 'now').mockReturnValue(start + CACHED_MS - 1);
    expect(await withKey('/caller', key)).toMatchObject({ status: 200 });
    // What is known of one key is of no use to another text.
    expect(await withKey('/caller', `tollway_${id}_${other.key.slice(-43)}`)).toMatchObject({ status: 400 });
    vi.spyOn(performance, 'now').mockReturnValue(start + CACHED_MS);
    expect((await withKey('/caller', key)).body).toContain('which was revoked at');
    // A key that is refused is looked up again each time.
    await database.pool.query('update api_key set revoked_at = null where id = $1', [id]);
    expect(await withKey('/caller', key)).toMatchObject({ status: 200 });
  });

  it('is looked up again a second after the question, however late the answer came', async () => {
    const { id, key } = await newKey();
    const start = performance.now();
    const now = vi.spyOn(performance, 'now').mockReturnValue(start);
    const find = database.pool.query.bind(database.pool) as (...args: unknown[]) => Promise<unknown>;
    vi.spyOn(database.pool, 'query').mockImplementationOnce(async (...args: unknown[]) => {
      const answer = await find(...args);
      now.mockReturnValue(start + CACHED_MS - 1);
      return answer as never;
    });
    expect(await withKey('/caller', key)).toMatchObject({ status: 200 });
    await revokeKey(database.pool, id);
    now.mockReturnValue(start + CACHED_MS);
    expect((await withKey('/caller', key)).body).toContain('which was revoked at');
  });
});

describe('a request without a key in the header', () => {
  it('is refused', async () => {
    expect(await get('/caller')).toEqual(
      refused('unauthenticated', 'Authorization: expected "Bearer <API key>", got no such header'),
    );
  });

  it('is refused with a key in the query string, in a cookie or in another header', async () => {
    const { key } = await newKey();
    for (const name of ['key', 'api_key', 'access_token', 'token', 'authorization'])
      expect(await get(`/caller?${name}=${key}`)).toMatchObject({ status: 400 });
    for (const headers of [
      { cookie: `authorization=Bearer ${key}; key=${key}` },
      { 'x-api-key': key },
      { 'proxy-authorization': `Bearer ${key}` },
    ])
      expect(await get('/caller', headers)).toMatchObject({ status: 400 });
  });

  it.each(['Basic', 'Token', 'Bearer:', 'Bearer,', 'Bearertollway', ''])(
    'is refused with the scheme "%s", and the answer does not repeat the key',
    async (scheme) => {
      const { key } = await newKey();
      const { status, body } = await get('/caller', { authorization: `${scheme} ${key}` });
      expect(status).toBe(400);
      expect(body).toContain('got another form');
      expect(body).not.toContain(key.slice(-43));
    },
  );

  it.each([
    ['an empty key', () => 'Bearer '],
    ['two keys', (key: string) => `Bearer ${key} ${key}`],
    ['two keys with a comma', (key: string) => `Bearer ${key},${key}`],
    ['a key in quotes', (key: string) => `Bearer "${key}"`],
    ['a tab', (key: string) => `Bearer\t${key}`],
    ['a letter that is not ASCII', (key: string) => `Bearer ${key}é`],
    ['a long key', () => `Bearer ${'A'.repeat(10_000)}`],
  ])('is refused with %s', async (_, header) => {
    const { key } = await newKey();
    expect(await get('/caller', { authorization: header(key) })).toMatchObject({ status: 400 });
  });

  it('reaches a public route', async () => {
    expect(await get('/public')).toEqual({ status: 200, body: 'ok' });
    expect(await withKey('/public', 'wrong')).toEqual({ status: 200, body: 'ok' });
  });

  it('finds no route: 404 without a query', async () => {
    expect((await get('/nothing')).status).toBe(404);
  });
});

it('A request with two Authorization headers is refused, in either order', async () => {
  const { key } = await newKey();
  const address = await app
    .listen({ port: 0, host: '127.0.0.1' })
    .then(() => app.server.address() as AddressInfo);
  const answerTo = async (headers: readonly string[]) => {
    const socket = connect(address.port, '127.0.0.1');
    socket.write(
      ['GET /caller HTTP/1.1', 'Host: localhost', 'Connection: close', ...headers, '', ''].join('\r\n'),
    );
    let text = '';
    socket.setEncoding('utf8').on('data', (chunk) => {
      text += chunk;
    });
    await once(socket, 'close');
    return text;
  };
  const [right, wrong] = [`Authorization: Bearer ${key}`, 'authorization: Bearer x'];
  expect(await answerTo([right])).toContain('200 OK');
  for (const headers of [
    [right, wrong],
    [wrong, right],
    [right, right],
  ])
    expect(await answerTo(headers)).toContain('once, got 2 headers');
});

describe('a rule', () => {
  it('keeps other roles out, and the error names the roles', async () => {
    const [finance, viewer] = [await newKey('finance'), await newKey('viewer')];
    expect(await withKey('/finance', finance.key)).toEqual({ status: 200, body: 'ok' });
    expect(await withKey('/finance', viewer.key)).toEqual(
      refused('forbidden', 'Expected a key with the role admin or finance, got one with the role viewer'),
    );
  });

  it('keeps restricted keys out, whatever their role', async () => {
    const { id } = await addAdvertiser(database.pool, 'Blue Shoes', 'USD');
    const [all, one] = [await newKey('viewer'), await newKey('viewer', [id])];
    expect(await withKey('/unrestricted', all.key)).toMatchObject({ status: 200 });
    expect(await withKey('/unrestricted', one.key)).toEqual(
      refused('forbidden', 'Expected a key for all advertisers, got one that is restricted to some'),
    );
  });

  it.each([undefined, {}, { access: 'toString' as never }, { access: 'campaigns' as never }])(
    'is required for each route: with %j the app does not start',
    async (config) => {
      const made = fastify();
      made.addHook('onRoute', assertRule);
      expect(() => made.get('/x', { ...(config && { config }) }, async () => 'ok')).toThrow(
        'Expected a rule of ACCESS_RULES in config.access of GET /x',
      );
    },
  );
});

describe('the last use of a key', () => {
  const lastUse = async (id: number) => (await readKey(database.pool, id)).lastUsedAt;

  it('is written after a request, once for many', async () => {
    const [first, second] = [await newKey(), await newKey()];
    const noteUse = createKeyUse(database.pool, silent);
    for (let times = 0; times < 100; times += 1) for (const { id } of [first, second]) noteUse(id);
    await until(
      'the last use',
      async () => (await lastUse(first.id)) !== null && (await lastUse(second.id)) !== null,
    );
    await database.pool.query('update api_key set last_used_at = null where id = $1', [first.id]);
    noteUse(first.id);
    noteUse(second.id);
    const third = await newKey();
    noteUse(third.id);
    await until('the last use of another key', async () => (await lastUse(third.id)) !== null);
    expect(await lastUse(first.id)).toBeNull();
  });

  it('is not waited for while another transaction locks the key, or while the database does not answer', async () => {
    const [locked, free] = [await newKey(), await newKey()];
    const noteUse = createKeyUse(database.pool, silent);
    await inTransaction(database.pool, async (connection) => {
      await revokeKey(connection, locked.id);
      noteUse(locked.id);
      noteUse(free.id);
      await until('the last use', async () => (await lastUse(free.id)) !== null);
    });
    const away = createPool('postgres://a:b@127.0.0.1:1/none', 'test', 1, () => {}, 0, 100);
    const warnings: string[] = [];
    const logger = { warn: (_: object, message: string) => void warnings.push(message) } as typeof silent;
    createKeyUse(away, logger)(1);
    await until('a warning', () => warnings.length > 0);
    expect(warnings[0]).toContain(
      'The last use of API keys was not recorded (connect ECONNREFUSED 127.0.0.1:1)',
    );
    await away.end();
  });
});
