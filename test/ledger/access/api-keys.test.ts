import { createHash } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { inTransaction } from '../../../common/postgres/postgres.ts';
import { DAY_MS } from '../../../common/unix-time.ts';
import {
  createKey,
  findKey,
  isKeyValid,
  listKeys,
  type Role,
  readKey,
  recordKeyUse,
  revokeKey,
} from '../../../ledger/access/api-keys.ts';
import { addAdvertiser } from '../../../ledger/accounts/advertisers.ts';
import { testDatabase } from '../../support/database.ts';

const database = testDatabase();
const newAdvertiser = async () => (await addAdvertiser(database.pool, 'Blue Shoes', 'USD')).id;
const newKey = (role: Role = 'viewer') => createKey(database.pool, { name: 'a key', role });

describe('a key', () => {
  it('has its id and 256 random bits in its text, and only the hash of the bits is stored', async () => {
    const made = await newKey('manager');
    const [, id, secret = ''] = /^tollway_(\d+)_([A-Za-z0-9_-]{43})$/.exec(made.key) ?? [];
    expect(Number(id)).toBe(made.id);
    const { rows } = await database.pool.query(
      'select api_key::text as text, secret_hash from api_key where id = $1',
      [made.id],
    );
    expect(rows[0].secret_hash).toEqual(createHash('sha256').update(secret).digest());
    expect(rows[0].text).not.toContain(secret);
    expect((await newKey('manager')).key.slice(-43)).not.toBe(secret);
  });

  it('is found by its text, with what it was created with', async () => {
    const [first, second] = [await newAdvertiser(), await newAdvertiser()];
    const expiresAt = new Date(Date.now() + DAY_MS);
    const terms = {
      name: 'Blue Shoes',
      role: 'viewer',
      advertiserIds: [second, first, second],
      expiresAt,
    } as const;
    const { key, ...made } = await createKey(database.pool, terms);
    expect(made).toEqual({
      id: made.id,
      name: 'Blue Shoes',
      role: 'viewer',
      advertiserIds: [first, second],
      status: 'active',
      createdAt: expect.any(Date),
      expiresAt,
      revokedAt: null,
      lastUsedAt: null,
    });
    expect(await findKey(database.pool, key)).toEqual(made);
    expect(await readKey(database.pool, made.id)).toEqual(made);
    expect(await listKeys(database.pool)).toContainEqual(made);
  });

  it('is not found by another secret, another id or another form', async () => {
    const { id, key } = await newKey();
    const other = await newKey();
    const secret = key.slice(-43);
    const last = secret.at(-1) ?? '';
    // Four characters decode to the same last byte in base64url.
    const alike = [...'AEIMQUYcgkosw048'].flatMap((c) => [c, String.fromCharCode(c.charCodeAt(0) + 1)]);
    const wrong = [
      ...alike.filter((c) => c !== last).map((c) => `tollway_${id}_${secret.slice(0, -1)}${c}`),
      `tollway_${other.id}_${secret}`,
      `tollway_2147483647_${secret}`,
      `tollway_2147483648_${secret}`,
      `tollway_9999999999_${secret}`,
      `tollway_0${id}_${secret}`,
      `tollway_-${id}_${secret}`,
      `Tollway_${id}_${secret}`,
      `tollway_${id}_${secret}\n`,
      ` tollway_${id}_${secret}`,
      `tollway_${id}_${secret}A`,
      `tollway_${id}_`,
      secret,
      '',
      'tollway_1_'.repeat(100_000),
      `tollway_${id}_${secret.toUpperCase()}`,
      `tollway_${id}_${'ä'.repeat(43)}`,
    ];
    for (const text of wrong) expect(await findKey(database.pool, text), text.slice(0, 80)).toBeNull();
    expect(await findKey(database.pool, key)).toMatchObject({ id });
  });

  it.each([
    [{ name: '' }, 'bad_name'],
    [{ name: 'a\nb' }, 'bad_name'],
    [{ role: 'owner' as Role }, 'bad_role'],
    [{ role: 'admin' as const, advertiserIds: [1] }, 'bad_role'],
    [{ advertiserIds: [] }, 'bad_count'],
    [{ advertiserIds: Array.from({ length: 101 }, (_, index) => index + 1) }, 'bad_count'],
    [{ advertiserIds: [2_147_483_647] }, 'unknown_advertiser'],
    [{ expiresAt: new Date(Date.now() - 1) }, 'bad_time'],
  ])('is refused with %j: %s', async (terms, code) => {
    const before = (await listKeys(database.pool)).length;
    const all = { name: 'a key', role: 'viewer' as Role, ...terms };
    await expect(createKey(database.pool, all)).rejects.toMatchObject({ code });
    expect(await listKeys(database.pool)).toHaveLength(before);
  });

  it('is created in the transaction of the caller', async () => {
    let id = 0;
    const work = inTransaction(database.pool, async (connection) => {
      ({ id } = await createKey(connection, { name: 'a key', role: 'viewer' }));
      throw new Error('roll back');
    });
    await expect(work).rejects.toThrow('roll back');
    await expect(readKey(database.pool, id)).rejects.toMatchObject({ code: 'unknown_key' });
  });
});

describe('the keys', () => {
  it('are listed a page at a time', async () => {
    const made = [await newKey(), await newKey(), await newKey()].map(({ id }) => id);
    const [first = 0, second, third] = made;
    const page = await listKeys(database.pool, { after: first - 1, limit: 2 });
    expect(page.map(({ id }) => id)).toEqual([first, second]);
    expect((await listKeys(database.pool, { after: second ?? 0, limit: 2 })).map(({ id }) => id)).toEqual([
      third,
    ]);
  });
});

describe('a key that has ended', () => {
  it('is found as revoked, with the time of the first revocation', async () => {
    const { id, key } = await newKey();
    const revoked = await revokeKey(database.pool, id);
    expect(revoked).toMatchObject({ id, status: 'revoked', revokedAt: expect.any(Date) });
    expect(await revokeKey(database.pool, id)).toEqual(revoked);
    expect(await findKey(database.pool, key)).toEqual(revoked);
    expect(await isKeyValid(database.pool, id)).toBe(false);
    expect(await isKeyValid(database.pool, 2_147_483_647)).toBe(false);
    await expect(revokeKey(database.pool, 2_147_483_647)).rejects.toMatchObject({ code: 'unknown_key' });
  });

  it('is found as expired, and as revoked if it is both', async () => {
    const { id, key } = await newKey();
    expect(await isKeyValid(database.pool, id)).toBe(true);
    await database.pool.query('update api_key set expires_at = now() where id = $1', [id]);
    expect(await isKeyValid(database.pool, id)).toBe(false);
    expect(await findKey(database.pool, key)).toMatchObject({ id, status: 'expired' });
    await revokeKey(database.pool, id);
    expect(await findKey(database.pool, key)).toMatchObject({ id, status: 'revoked' });
  });
});

describe('the last use of a key', () => {
  const lastUse = async (id: number) => (await readKey(database.pool, id)).lastUsedAt?.getTime() ?? null;

  it('is written at most once a minute', async () => {
    const { id } = await newKey();
    await recordKeyUse(database.pool, [id]);
    const first = await lastUse(id);
    expect(first).toBeGreaterThan(Date.now() - 60_000);
    await recordKeyUse(database.pool, [id]);
    expect(await lastUse(id)).toBe(first);
    await database.pool.query(
      "update api_key set last_used_at = now() - interval '61 seconds' where id = $1",
      [id],
    );
    await recordKeyUse(database.pool, [id]);
    expect(await lastUse(id)).toBeGreaterThanOrEqual(first ?? 0);
  });

  it('is not written while another transaction changes the key, and that of other keys is', async () => {
    const [locked, free] = [await newKey(), await newKey()];
    await inTransaction(database.pool, async (connection) => {
      await revokeKey(connection, locked.id);
      await recordKeyUse(database.pool, [locked.id, free.id]);
    });
    expect(await lastUse(locked.id)).toBeNull();
    expect(await lastUse(free.id)).not.toBeNull();
  });
});
