import { mkdirSync, readdirSync, readFileSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import {
  type EmbeddedPostgres,
  makeDataDir,
  startEmbeddedPostgres,
} from '../../cli/start/embedded-postgres.ts';
import { createPool } from '../../common/postgres/postgres.ts';
import { silent } from '../support/loggers.ts';
import { suiteFolder, temporaryFolder } from '../support/temporary-folder.ts';

const SECRETS = {
  LINK_KEYS: 'k1:signs:secret-of-links',
  AWS_SECRET_ACCESS_KEY: 'secret-of-aws',
  KAFKA_PASSWORD: 'secret-of-kafka',
  DATABASE_URL: 'postgres://secret-of-the-database@example.com/',
};
const folder = suiteFolder();
const dataDir = join(folder, 'data');
const temporary = join(folder, 'tmp');
/** What stood in temporary files while the cluster was made. */
const seen = new Set<string>();
let server: EmbeddedPostgres | undefined;

beforeAll(async () => {
  for (const [name, value] of Object.entries(SECRETS)) vi.stubEnv(name, value);
  mkdirSync(temporary, { mode: 0o777 });
  vi.stubEnv('TMPDIR', temporary);
  makeDataDir(dataDir);
  const watch = setInterval(() => {
    for (const name of readdirSync(temporary)) {
      try {
        const text = readFileSync(join(temporary, name), 'utf8').trim();
        if (text !== '') seen.add(text);
      } catch {
        // It was removed between the two calls.
      }
    }
  }, 2);
  server = await startEmbeddedPostgres(dataDir, silent).finally(() => clearInterval(watch));
});
afterAll(async () => {
  await server?.stop();
  vi.unstubAllEnvs();
});

it("writes the server's password into no temporary file", async () => {
  const { password } = JSON.parse(readFileSync(join(dataDir, 'postgres.json'), 'utf8')) as {
    password: string;
  };
  expect(seen.size, 'temporary files seen while initdb ran').toBeGreaterThan(0);
  expect([...seen]).not.toContain(password);
  // The one in that file opens nothing.
  for (const text of seen) {
    const url = new URL(server?.url ?? '');
    url.password = text;
    const pool = createPool(url.href, 'test', 1, () => {});
    await expect(pool.query('select 1')).rejects.toMatchObject({ code: '28P01' });
    await pool.end();
  }
});

it.runIf(process.platform === 'linux')('gives the server no secret of the environment', () => {
  const [pid = ''] = readFileSync(join(dataDir, 'postgres', 'postmaster.pid'), 'utf8').split('\n');
  const environment = readFileSync(`/proc/${pid}/environ`, 'utf8');
  expect(environment).toContain('PATH=');
  for (const [name, value] of Object.entries(SECRETS)) {
    expect(environment).not.toContain(name);
    expect(environment).not.toContain(value);
  }
});

it('makes no cluster in place of one that is missing', async () => {
  const other = temporaryFolder();
  mkdirSync(join(other, 'postgres'));
  await expect(startEmbeddedPostgres(other, silent)).rejects.toMatchObject({
    code: 'embedded_postgres',
    message: expect.stringMatching(/Expected a data folder of PostgreSQL \d\d in .*, got an empty folder/),
  });
  expect(readdirSync(join(other, 'postgres'))).toEqual([]);
});

describe('a file of the process id without a number, as after a loss of power', () => {
  /** Starts the server again after the file was written `secondsAgo`. Returns how long that took, in ms. */
  async function restartWith(text: string, secondsAgo: number): Promise<number> {
    await server?.stop();
    const path = join(dataDir, 'postgres', 'postmaster.pid');
    writeFileSync(path, text);
    const writtenAt = Date.now() / 1_000 - secondsAgo;
    utimesSync(path, writtenAt, writtenAt);
    const startedAt = performance.now();
    server = await startEmbeddedPostgres(dataDir, silent);
    return performance.now() - startedAt;
  }

  it.each([
    ['it is empty', '', 60],
    ['it has the bytes of no write', '\0'.repeat(20), 60],
    ['the clock has been set back since', '', -3_600],
  ])('does not prevent the start: %s', { timeout: 60_000 }, async (_, text, secondsAgo) => {
    await restartWith(text, secondsAgo);
  });

  it('is kept while another server can be about to write it', { timeout: 60_000 }, async () => {
    expect(await restartWith('', 0)).toBeGreaterThan(1_900);
  });
});
