import { describe, expect, it } from 'vitest';
import { createKey } from '../../ledger/access/api-keys.ts';
import { findLoginLink } from '../../ledger/access/login-links.ts';
import { testDatabase } from '../support/database.ts';
import { tollway } from '../support/run-script.ts';

const database = testDatabase();
const run = (...args: string[]) =>
  tollway({ DATABASE_URL: database.url, PATH: process.env.PATH, CONSOLE_PORT: '21083' }, ...args);
const LINK = /^http:\/\/127\.0\.0\.1:21083\/#login=([A-Za-z0-9_-]{43})$/;

describe('login', () => {
  it('prints a link alone to standard output, and whose it is to standard error', async () => {
    const { code, stdout, stderr } = await run('login');
    expect(code).toBe(0);
    const [, token = ''] = LINK.exec(stdout.trim()) ?? [];
    const key = await findLoginLink(database.pool, token, 0);
    expect(key).toMatchObject({ name: 'console login', role: 'admin' });
    expect(stderr).toBe(
      `Logs one browser in with key ${key?.id}, "console login" (admin). It can be used once, within 10 minutes\n`,
    );
  });

  it('prints a link for another key', async () => {
    const { id } = await createKey(database.pool, { name: 'a viewer', role: 'viewer' });
    const { stdout } = await run('login', '--key', String(id), '--json');
    const { url, expiresAt, ...rest } = JSON.parse(stdout);
    expect(rest).toEqual({ keyId: id, role: 'viewer' });
    expect(Date.parse(expiresAt) - Date.now()).toBeLessThanOrEqual(600_000);
    const [, token = ''] = LINK.exec(url) ?? [];
    expect(await findLoginLink(database.pool, token, 0)).toMatchObject({ id });
  });

  it('is refused for a key that does not exist', async () => {
    const { code, stdout, stderr } = await run('login', '--key', '999');
    expect({ code, stdout }).toEqual({ code: 1, stdout: '' });
    expect(stderr).toContain('Expected the id of an API key in the database, got 999');
  });
});
