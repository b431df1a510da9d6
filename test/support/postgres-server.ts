/**
 * The PostgreSQL server of one test run, as a process of its own whose life hangs on the channel to its parent: it
 * stops the server and removes its folder when the parent asks for it, and when the parent is gone, however it ended.
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

// A Ctrl-C in the terminal reaches this process too; the end comes from the parent, when its tests have ended.
process.on('SIGINT', () => undefined);
process.on('SIGTERM', () => void end(0));
process.on('disconnect', () => void end(0));

/** The data of a test dies with it: there is nothing that a flush to disk could save. */
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
  // As root, the server runs as another user, who has to pass through here.
  for (const path of [folder, dataDir]) chmodSync(path, 0o755);
  server = await startEmbeddedPostgres(dataDir, pino({ level: 'silent' }));
  await turnOffFlushes(server.url);
  process.send?.({ url: server.url });
} catch (error) {
  process.stderr.write(`The PostgreSQL of the tests does not start: ${error}\n`);
  await end(1);
}
