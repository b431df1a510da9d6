import type { QueryResult } from 'pg';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { watchDatabase } from '../../cli/database-watch.ts';
import { createClient } from '../../common/postgres/postgres.ts';
import { testDatabase } from '../support/database.ts';
import { startTcpProxy } from '../support/tcp-proxy.ts';
import { until } from '../support/until.ts';

const database = testDatabase();
const SILENT = 'The database does not answer. The command waits for it; Ctrl-C ends the command\n';
const BACK = 'The database answers again\n';

/** What a command that uses a proxy to the database says on standard error. */
async function watched(pids: readonly number[] = []) {
  const proxy = await startTcpProxy(database.url);
  const notes: string[] = [];
  const write = vi.spyOn(process.stderr, 'write').mockImplementation((text) => {
    notes.push(String(text));
    return true;
  });
  const stop = watchDatabase(proxy.url, () => pids, { checkMs: 50, answerMsMax: 500, lockMsMin: 200 });
  onTestFinished(async () => {
    stop();
    write.mockRestore();
    await proxy.close();
  });
  return { proxy, notes, stop };
}

describe('a command whose database is frozen', () => {
  it('says so once, and that the database answers again', async () => {
    const { proxy, notes } = await watched();
    proxy.freeze();
    await until('a note', () => notes.length > 0);
    // Longer than two more checks.
    const later = performance.now() + 1_500;
    await until('more checks', () => performance.now() > later);
    expect(notes).toEqual([SILENT]);
    proxy.thaw();
    await until('another note', () => notes.length > 1);
    expect(notes).toEqual([SILENT, BACK]);
  });
});

describe('a command whose statement takes long', () => {
  it('says nothing, since the database answers others', async () => {
    const { proxy, notes } = await watched();
    const client = createClient(proxy.url, 'test');
    await client.connect();
    await client.query('select pg_sleep(1.5)');
    await client.end();
    expect(notes).toEqual([]);
  });
});

/** A transaction of a session of its own. `work` blocks until its locks are free. */
async function session(name: string) {
  const client = createClient(database.url, name);
  await client.connect();
  onTestFinished(() => client.end());
  const { rows } = await client.query<{ pid: number }>('begin; select pg_backend_pid() as pid').then(
    // Two statements have two results, which the types lack.
    (results) => (results as unknown as QueryResult<{ pid: number }>[])[1] ?? { rows: [] },
  );
  return { client, pid: rows[0]?.pid ?? 0 };
}

describe('a command that waits for a lock', () => {
  it('says which session holds it, and when it waits no longer', async () => {
    const holder = await session('holder');
    const queued = await session('queued');
    const command = await session('cli');
    const { notes } = await watched([command.pid]);
    await holder.client.query('lock table advertiser in row exclusive mode');
    // Waits in front of the command, but holds nothing.
    const lock = queued.client.query('lock table advertiser');
    await until('a queue', async () => (await waiting()).includes(queued.pid));
    const read = command.client.query('select from advertiser');
    await until('a note', () => notes.length > 0);
    const { rows } = await database.pool.query<{ since: Date }>(
      'select xact_start as since from pg_stat_activity where pid = $1',
      [holder.pid],
    );
    expect(notes).toEqual([
      `The command waits for a lock of process ${holder.pid} (tollway holder, in a transaction since ${rows[0]?.since.toISOString()}). ` +
        'Ctrl-C ends the command; docs/runbook.md#tollwaysettlementblocked says how to end a session\n',
    ]);
    await holder.client.query('rollback');
    await lock;
    await until('the next holder', () => notes.length > 1);
    expect(notes[1]).toContain(`process ${queued.pid} (tollway queued, in a transaction since `);
    await queued.client.query('rollback');
    await read;
    await until('the end', () => notes.length > 2);
    expect(notes[2]).toBe('The command waits for no lock any more\n');
  });

  it('says nothing of sessions that are not of the command line', async () => {
    const holder = await session('holder');
    const part = await session('processor');
    const command = await session('cli');
    const { notes } = await watched([part.pid, command.pid]);
    await holder.client.query('lock table advertiser');
    const foreign = part.client.query('select from advertiser');
    await until('a wait', async () => (await waiting()).includes(part.pid));
    // Longer than some checks.
    await command.client.query('select pg_sleep(1)');
    expect(notes).toEqual([]);
    await holder.client.query('rollback');
    await foreign;
  });
});

async function waiting(): Promise<number[]> {
  const { rows } = await database.pool.query<{ pid: number }>('select pid from pg_locks where not granted');
  return rows.map(({ pid }) => pid);
}
