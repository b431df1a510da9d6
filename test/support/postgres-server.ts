/**
 * The PostgreSQL server of one test run, in a separate process. It stops the server and removes its folder on a message of the parent, or
 * when the channel to the parent closes, however the parent ended.
 */
import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import { makeDataDir, startEmbeddedPostgres } from '../../cli/start/embedded-postgres.ts';
import { createClient } from '../../common/postgres/postgres.ts';

const folder = mkdtempSync(join(tmpdir(), 'tollway-test-'));
const dataDir = join(folder, 'data');
let server: Awaited<ReturnType<typeof startEmbeddedPostgres>> | undefined;
let ending = false;

async function end(exitCode: number): Promise<void> {
  if (ending) return;
  ending = true;
  await server?.stop().catch((error: unknown) => process.stderr.write(`${error}\n`));
  rmSync(folder, { recursive: true, force: true });
  process.exit(exitCode);
}

// Ctrl-C in the terminal reaches this process too. The parent ends it after the tests.
process.on('SIGINT', () => undefined);
process.on('SIGTERM', () => void end(0));
process.on('disconnect', () => void end(0));

/** Test data need not survive a crash, so nothing is flushed to disk. */
async function turnOffFlushes(url: string): Promise<void> {
  const client = createClient(url, 'test');
  await client.connect();
  for (const setting of ['fsync', 'full_page_writes', 'synchronous_commit']) {
    await client.query(`alter system set ${setting} = off`);
  }
  await client.query('select pg_reload_conf()');
  await client.end();
}

try {
  makeDataDir(dataDir);
  // As root, the server runs as another user, who must be able to enter this folder.
  for (const path of [folder, dataDir]) chmodSync(path, 0o755);
  server = await startEmbeddedPostgres(dataDir, pino({ level: 'silent' }));
  await turnOffFlushes(server.url);
  process.send?.({ url: server.url });
} catch (error) {
  process.stderr.write(`The PostgreSQL of the tests does not start: ${error}\n`);
  await end(1);
}
