import { describe, expect, it } from 'vitest';
import { DAY_MS } from '../../common/unix-time.ts';
import { findKey } from '../../ledger/access/api-keys.ts';
import { addAdvertiser } from '../../ledger/accounts/advertisers.ts';
import { testDatabase } from '../support/database.ts';
import { tollwayHere } from '../support/run-here.ts';

const database = testDatabase();
const run = (...args: string[]) =>
  tollwayHere({ DATABASE_URL: database.url, PATH: process.env.PATH }, ...args);

describe('key', () => {
  it('is created for advertisers until a time, shown once, listed and revoked', async () => {
    const { id: advertiserId } = await addAdvertiser(database.pool, 'Blue Shoes', 'USD');
    const restriction = ['--advertiser', String(advertiserId), '--expires', '90d', '--name', 'Blue Shoes'];
    const created = await run('key', 'create', '--role', 'viewer', ...restriction, '--json');
    expect(created).toMatchObject({ code: 0, stderr: '' });
    const { key, ...made } = JSON.parse(created.stdout);
    expect(made).toEqual({
      id: made.id,
      name: 'Blue Shoes',
      role: 'viewer',
      advertiserIds: [advertiserId],
      status: 'active',
      createdAt: expect.any(String),
      expiresAt: expect.any(String),
      lastUsedAt: null,
      revokedAt: null,
    });
    expect(Date.parse(made.expiresAt) - Date.parse(made.createdAt)).toBeCloseTo(90 * DAY_MS, -5);
    expect(await findKey(database.pool, key)).toMatchObject({ id: made.id, role: 'viewer' });

    const listed = await run('key', 'list', '--json');
    expect(JSON.parse(listed.stdout)).toContainEqual(made);
    const revoked = await run('key', 'revoke', String(made.id), '--json');
    expect(JSON.parse(revoked.stdout)).toMatchObject({ id: made.id, status: 'revoked' });
    const table = await run('key', 'list');
    expect(table.stdout).toMatch(/^id +name +role +advertisers +status/);
    const secret = key.slice(-43);
    for (const { stdout, stderr } of [listed, revoked, table]) expect(stdout + stderr).not.toContain(secret);
  });

  it('alone goes to standard output, and what it is goes to standard error', async () => {
    const { code, stdout, stderr } = await run('key', 'create', '--role', 'admin');
    expect(code).toBe(0);
    const key = await findKey(database.pool, stdout.replace(/\n$/, ''));
    expect(key).toMatchObject({ name: 'admin', role: 'admin', advertiserIds: null, expiresAt: null });
    expect(stderr).toBe(
      `Created key ${key?.id}, "admin": admin, all advertisers, without an expiry. The key is not stored, so it cannot be shown again\n`,
    );
  });

  it('can have several advertisers', async () => {
    const ids = [];
    for (const name of ['A', 'B', 'C']) ids.push((await addAdvertiser(database.pool, name, 'USD')).id);
    const [a, b, c] = ids.map(String);
    const args = ['--advertiser', a ?? '', b ?? '', '--advertiser', c ?? ''];
    const { stdout } = await run('key', 'create', '--role', 'finance', ...args, '--json');
    const { id, advertiserIds } = JSON.parse(stdout);
    expect(advertiserIds).toEqual(ids);
    expect((await run('key', 'list')).stdout).toContain(` ${a} (A), ${b} (B), ${c} (C)  active `);
    expect((await run('key', 'list', '--format', 'csv')).stdout).toContain(
      `\n${id},finance,finance,${a} ${b} ${c},`,
    );
  });

  it('of many advertisers is shown with the names of the first', async () => {
    const ids = [];
    for (const name of ['D', 'E', 'F', 'G', 'H', 'I', 'J'])
      ids.push((await addAdvertiser(database.pool, name, 'USD')).id);
    const args = ids.flatMap((id) => ['--advertiser', String(id)]);
    const { stderr } = await run('key', 'create', '--role', 'viewer', ...args);
    const [d, e, f, g, h] = ids;
    expect(stderr).toContain(
      `: viewer, advertiser ${d} (D), ${e} (E), ${f} (F), ${g} (G), ${h} (H) and 2 more, without an expiry. `,
    );
  });

  it.each([
    [['create'], "required option '--role <role>' not specified"],
    [['create', '--role', 'owner'], 'Allowed choices are admin, manager, finance, viewer'],
    [['create', '--role', 'admin', '--advertiser', '1'], 'Expected the role manager, finance or viewer'],
    [
      ['create', '--role', 'viewer', '--advertiser', '999'],
      'Expected the id of an advertiser in the database, got 999',
    ],
    [['create', '--role', 'viewer', '--advertiser', 'x'], 'Expected an id, a whole number from 1, got "x"'],
    [
      ['create', '--role', 'viewer', '--expires', '2020-01-01'],
      'Expected an expiry in the future, got 2020-01-01T00:00:00.000Z',
    ],
    [
      ['create', '--role', 'viewer', '--expires', '2027-02-30'],
      'Expected a day of the calendar, got "2027-02-30"',
    ],
    [['create', '--role', 'viewer', '--expires', '0d'], 'Expected a length of time'],
    [['create', '--role', 'viewer', '--expires', 'soon'], 'Expected a time from now such as 90d'],
    [
      ['create', '--role', 'viewer', '--name', ' '],
      'Expected a name of 1–200 printable characters, got none',
    ],
    [['revoke', '999'], 'Expected the id of an API key in the database, got 999'],
  ])('%j is refused: %s', async (args, message) => {
    const { code, stdout, stderr } = await run('key', ...args);
    expect({ code, stdout }).toEqual({ code: 1, stdout: '' });
    expect(stderr).toContain(message);
  });
});
