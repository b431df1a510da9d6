import { createHash } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { inTransaction } from '../../../common/postgres/postgres.ts';
import { DAY_MS } from '../../../common/unix-time.ts';
import { createKey, findKey, listKeys, revokeKey } from '../../../ledger/access/api-keys.ts';
import { listAudit } from '../../../ledger/access/audit-log.ts';
import {
  createSession,
  deleteOldSessions,
  endSession,
  findSession,
  isSessionValid,
  renewSessions,
  SESSIONS_MAX,
} from '../../../ledger/access/console-sessions.ts';
import {
  createLoginLink,
  deleteOldLoginLinks,
  findLoginLink,
  LOGIN_KEY_NAME,
  loginUrl,
  useLoginLink,
} from '../../../ledger/access/login-links.ts';
import { changeAs } from '../../../ledger/actor.ts';
import { testDatabase } from '../../support/database.ts';

const database = testDatabase();
const newKey = () => createKey(database.pool, { name: 'a key', role: 'viewer' });
const newSession = (keyId: number) =>
  inTransaction(database.pool, (connection) => createSession(connection, keyId));
const newLink = (keyId?: number) =>
  changeAs(database.pool, { type: 'cli', user: 'someone' }, (connection) =>
    createLoginLink(connection, keyId),
  );
const use = (token: string) => inTransaction(database.pool, (connection) => useLoginLink(connection, token));
const expire = (table: string, left: string) =>
  database.pool.query(`update ${table} set expires_at = now() + $1::interval`, [left]);

describe('a session', () => {
  it('is found by its token, with its key, and only the hash of the token is stored', async () => {
    const { key: _, ...key } = await newKey();
    const { token, expiresAt } = await newSession(key.id);
    expect(token).toMatch(/^[A-Za-z0-9_-]{43}$/);
    expect(await findSession(database.pool, token)).toEqual({ id: expect.any(BigInt), expiresAt, key });
    expect(expiresAt.getTime() - Date.now()).toBeCloseTo(7 * DAY_MS, -5);
    const { rows } = await database.pool.query(
      'select console_session::text as text, token_hash from console_session where api_key_id = $1',
      [key.id],
    );
    expect(rows[0].token_hash).toEqual(createHash('sha256').update(token).digest());
    expect(rows[0].text).not.toContain(token);
  });

  it('is not found by another token, nor after it has ended or expired', async () => {
    const { id } = await newKey();
    const { token } = await newSession(id);
    const last = token.endsWith('A') ? 'Q' : 'A';
    for (const wrong of [
      '',
      'x',
      token.slice(0, -1),
      `${token}A`,
      `${token.slice(0, -1)}${last}`,
      ` ${token}`,
    ])
      expect(await findSession(database.pool, wrong)).toBeNull();
    const other = await newSession(id);
    await endSession(database.pool, token);
    expect(await findSession(database.pool, token)).toBeNull();
    const session = await findSession(database.pool, other.token);
    expect(await isSessionValid(database.pool, session?.id ?? 0n)).toBe(true);
    await expire('console_session', '0');
    expect(await findSession(database.pool, other.token)).toBeNull();
    expect(await isSessionValid(database.pool, session?.id ?? 0n)).toBe(false);
  });

  it('ends with its key', async () => {
    const { id } = await newKey();
    const session = await findSession(database.pool, (await newSession(id)).token);
    await revokeKey(database.pool, id);
    expect(await isSessionValid(database.pool, session?.id ?? 0n)).toBe(false);
    const other = await newKey();
    const { token } = await newSession(other.id);
    await database.pool.query('update api_key set expires_at = now() where id = $1', [other.id]);
    const expired = await findSession(database.pool, token);
    expect(expired?.key.status).toBe('expired');
    expect(await isSessionValid(database.pool, expired?.id ?? 0n)).toBe(false);
  });

  it('is renewed for seven days, unless it has expired or another transaction holds it', async () => {
    const { id } = await newKey();
    const tokens = [await newSession(id), await newSession(id)].map(({ token }) => token);
    const [locked = 0n, free = 0n] = await Promise.all(
      tokens.map(async (token) => (await findSession(database.pool, token))?.id),
    );
    const left = async (sessionId: bigint) => {
      const { rows } = await database.pool.query<{ ms: number }>(
        'select extract(epoch from expires_at - now())::float8 * 1000 as ms from console_session where id = $1',
        [sessionId],
      );
      return rows[0]?.ms ?? 0;
    };
    await expire('console_session', '1 day');
    await inTransaction(database.pool, async (connection) => {
      await connection.query('select from console_session where id = $1 for update', [locked]);
      await renewSessions(database.pool, [locked, free]);
    });
    expect([Math.round((await left(locked)) / DAY_MS), Math.round((await left(free)) / DAY_MS)]).toEqual([
      1, 7,
    ]);
    await expire('console_session', '-1 second');
    await renewSessions(database.pool, [locked, free]);
    expect(await left(free)).toBeLessThan(0);
  });

  it('ends if its key gets more sessions than it may have', async () => {
    const { id } = await newKey();
    const other = await newSession((await newKey()).id);
    const first = await newSession(id);
    const second = await newSession(id);
    await database.pool.query(
      "update console_session set expires_at = expires_at - interval '1 hour' where api_key_id = $1",
      [id],
    );
    for (let made = 2; made < SESSIONS_MAX; made += 1) await newSession(id);
    expect(await findSession(database.pool, first.token)).not.toBeNull();
    await newSession(id);
    expect(await findSession(database.pool, first.token)).toBeNull();
    expect(await findSession(database.pool, second.token)).not.toBeNull();
    expect(await findSession(database.pool, other.token)).not.toBeNull();
  });

  it('is deleted after it has expired, and not before', async () => {
    await expire('console_session', '-1 second');
    const { token } = await newSession((await newKey()).id);
    expect(await deleteOldSessions(database.pool)).toBeGreaterThan(0);
    const { rows } = await database.pool.query('select from console_session');
    expect(rows).toHaveLength(1);
    expect(await findSession(database.pool, token)).not.toBeNull();
  });
});

describe('a login link', () => {
  it('names its key, can be used once, and only the hash of its token is stored', async () => {
    const { id } = await newKey();
    const link = await newLink(id);
    expect(loginUrl('http://127.0.0.1:8083', link)).toBe(`http://127.0.0.1:8083/#login=${link.token}`);
    expect(link.expiresAt.getTime() - Date.now()).toBeCloseTo(600_000, -4);
    const { rows } = await database.pool.query('select login_link::text as text from login_link');
    expect(JSON.stringify(rows)).not.toContain(link.token);
    expect(await findLoginLink(database.pool, link.token, 0)).toMatchObject({ id });
    expect(await findLoginLink(database.pool, `${link.token}A`, 0)).toBeNull();
    expect(await use(link.token)).toBe(true);
    expect(await use(link.token)).toBe(false);
    expect(await findLoginLink(database.pool, link.token, 0)).toBeNull();
  });

  it('is used by one of several at once', async () => {
    const { token } = await newLink((await newKey()).id);
    const used = await Promise.all(Array.from({ length: 5 }, () => use(token)));
    expect(used.filter(Boolean)).toHaveLength(1);
  });

  it('can be used again if the transaction of its use is rolled back', async () => {
    const { token } = await newLink((await newKey()).id);
    const work = inTransaction(database.pool, async (connection) => {
      await useLoginLink(connection, token);
      throw new Error('roll back');
    });
    await expect(work).rejects.toThrow('roll back');
    expect(await use(token)).toBe(true);
  });

  it('cannot be used after ten minutes, and is deleted then', async () => {
    const { token } = await newLink((await newKey()).id);
    await expire('login_link', '0');
    expect(await findLoginLink(database.pool, token, 0)).toBeNull();
    expect(await use(token)).toBe(false);
    const fresh = await newLink();
    expect(await deleteOldLoginLinks(database.pool)).toBeGreaterThan(0);
    expect(await use(fresh.token)).toBe(true);
  });

  it('is refused for a key that is unknown, revoked or expired', async () => {
    await expect(newLink(2_147_483_647)).rejects.toMatchObject({ code: 'unknown_key' });
    const { id } = await newKey();
    await revokeKey(database.pool, id);
    await expect(newLink(id)).rejects.toMatchObject({
      code: 'key_not_active',
      message: `Expected an active API key, got key ${id}, which is revoked`,
    });
  });

  it('is in the audit log, without its token', async () => {
    const { id } = await newKey();
    const { token, expiresAt } = await newLink(id);
    const [entry] = await listAudit(database.pool, { limit: 1 });
    expect(entry).toMatchObject({
      ...{ actorType: 'cli', actor: 'someone', action: 'login_link.create', subject: String(id) },
      after: { expiresAt: expiresAt.toISOString() },
    });
    expect(JSON.stringify(entry?.after)).not.toContain(token);
  });
});

describe('the key of login links that name no other', () => {
  const loginKeys = async () =>
    (await listKeys(database.pool)).filter(
      ({ name, status }) => name === LOGIN_KEY_NAME && status === 'active',
    );

  it('is an administrator without a text, made once even by several at once', async () => {
    const links = await Promise.all([1, 2, 3, 4].map(() => newLink()));
    const [key, ...more] = await loginKeys();
    expect(more).toEqual([]);
    expect(key).toMatchObject({ role: 'admin', advertiserIds: null, expiresAt: null });
    expect(new Set(links.map((link) => link.key.id))).toEqual(new Set([key?.id]));
    const next = await newKey();
    expect(next.id).toBeLessThan((key?.id ?? 0) + 5);
    for (const secret of ['A'.repeat(43), '_'.repeat(43), ''])
      expect(await findKey(database.pool, `tollway_${key?.id}_${secret}`)).toBeNull();
  });

  it('is not a key that has its name', async () => {
    const named = await createKey(database.pool, { name: LOGIN_KEY_NAME, role: 'viewer' });
    expect((await newLink()).key.id).not.toBe(named.id);
  });

  it('ends its sessions when it is revoked, and the next link makes another one', async () => {
    const { key } = await newLink();
    const { token } = await newSession(key.id);
    await revokeKey(database.pool, key.id);
    expect((await findSession(database.pool, token))?.key.status).toBe('revoked');
    const next = await newLink();
    expect(next.key).toMatchObject({ role: 'admin', status: 'active' });
    expect(next.key.id).not.toBe(key.id);
  });
});
