import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { afterEach, describe, expect, it } from 'vitest';
import { createKey } from '../../ledger/access/api-keys.ts';
import { type Part, readParts } from '../../ledger/operations/parts.ts';
import { clickLink } from '../support/clicks.ts';
import { addAccount, testDatabase } from '../support/database.ts';
import { runScript, tollway } from '../support/run-script.ts';
import { descendants, stackEnv } from '../support/stack.ts';
import { startTcpProxy } from '../support/tcp-proxy.ts';
import { suiteFolder } from '../support/temporary-folder.ts';
import { until } from '../support/until.ts';

const folder = suiteFolder();
const database = testDatabase();
let children: Child[] = [];
afterEach(async () => {
  await Promise.all(children.map(({ end }) => end('SIGKILL')));
  children = [];
  await database.pool.query('truncate part');
});

type Child = {
  readonly child: ChildProcess;
  readonly printed: () => string;
  readonly end: (signal: NodeJS.Signals) => Promise<number | null>;
};

/** Starts an entry file as a process. */
function start(script: string, env: NodeJS.ProcessEnv): Child {
  const child = runScript(script, env);
  let text = '';
  for (const stream of [child.stdout, child.stderr])
    stream?.setEncoding('utf8').on('data', (chunk) => {
      text += chunk;
    });
  const end = async (signal: NodeJS.Signals) => {
    if (child.exitCode !== null || child.signalCode !== null) return child.exitCode;
    const exited = once(child, 'exit');
    child.kill(signal);
    return ((await exited) as [number | null])[0];
  };
  const started = { child, printed: () => text, end };
  children.push(started);
  return started;
}

const settings = (more: Record<string, string> = {}) =>
  stackEnv(folder, {
    DATABASE_URL: database.url,
    LINK_KEYS: `k1:signs:${Buffer.alloc(32, 7).toString('base64url')}`,
    ...more,
  });

async function partOf<C extends Part['component']>(component: C) {
  const { parts } = await readParts(database.pool);
  // The cast is safe: a part of this component has its type.
  return parts.find((part) => part.component === component) as Extract<Part, { component: C }> | undefined;
}
const untilReady = (component: Part['component']) =>
  until(`a ready ${component}`, async () => (await partOf(component))?.state === 'ready');

describe('the parts as real processes', () => {
  it('report what they do, and are removed when they are stopped', { timeout: 60_000 }, async () => {
    const env = await settings({ AD_SERVER_WORKERS: '2' });
    const running = ['ad-server', 'processor', 'console'].map((part) => start(`${part}/main.ts`, env));
    for (const component of ['ad-server', 'processor', 'console'] as const) await untilReady(component);
    const { ad } = await addAccount(database.pool);
    const link = (await tollway(env, 'link', String(ad.id), '--evergreen')).stdout.trim();
    await until('a click', async () => (await clickLink(link)).clickId);
    // The age of the oldest click is as old as its latest reading.
    const adServer = await until('the accepted click, and none that waits', async () => {
      const part = await partOf('ad-server');
      return part?.numbers.relayed === 1 && part.numbers.spoolOldestSeconds === 0 && part;
    });
    expect(adServer.numbers).toMatchObject({ workers: 2, accepted: 1, unrecorded: 0 });
    expect(adServer.instance).toMatch(new RegExp(`:${env.AD_SERVER_OPS_PORT}$`));
    // The lag is as old as its latest reading.
    const processor = await until('the charged click, and no lag', async () => {
      const part = await partOf('processor');
      return part?.numbers.charged === 1 && part.numbers.lagRecords === 0 && part;
    });
    expect(processor.numbers).toMatchObject({ isBlocked: false });
    expect(processor.numbers.partitions).toMatchObject([{ broker: 'postgres', isAssigned: true }]);
    const { key } = await createKey(database.pool, { name: 'k', role: 'admin' });
    const response = await fetch(`http://127.0.0.1:${env.CONSOLE_PORT}/v1/operations`, {
      headers: { authorization: `Bearer ${key}` },
    });
    expect(await response.json()).toMatchObject({
      parts: [{ component: 'ad-server' }, { component: 'console' }, { component: 'processor' }],
      problems: [],
    });
    expect(await Promise.all(running.map(({ end }) => end('SIGTERM')))).toEqual([0, 0, 0]);
    expect((await readParts(database.pool)).parts).toEqual([]);
  });

  it('do not answer once they are killed, until they run again', { timeout: 60_000 }, async () => {
    const env = await settings();
    const processor = start('processor/main.ts', env);
    await untilReady('processor');
    await processor.end('SIGKILL');
    const killed = await until(
      'a processor that does not answer',
      async () => {
        const part = await partOf('processor');
        return part?.state === 'no_answer' && part;
      },
      15_000,
    );
    start('processor/main.ts', env);
    await untilReady('processor');
    const { parts } = await readParts(database.pool);
    expect(parts).toHaveLength(1);
    expect(parts[0]?.startedAt.getTime()).toBeGreaterThan(killed.startedAt.getTime());
  });

  it('report a worker that hangs', { timeout: 60_000 }, async () => {
    const env = await settings({ AD_SERVER_WORKERS: '2' });
    const { child } = start('ad-server/main.ts', env);
    await untilReady('ad-server');
    const worker = descendants(child.pid ?? 0).find((pid) => pid !== child.pid) ?? 0;
    process.kill(worker, 'SIGSTOP');
    const isNamed = async () => (await partOf('ad-server'))?.problems[0]?.includes('1 of 2 does not answer');
    await until('the problem', isNamed);
    process.kill(worker, 'SIGCONT');
    await untilReady('ad-server');
  });
});

describe('while the database is away', () => {
  it('an ad server redirects as before, and logs one line about its reports', {
    timeout: 60_000,
  }, async () => {
    const proxy = await startTcpProxy(database.url);
    const env = await settings({ DATABASE_URL: proxy.url });
    const { ad } = await addAccount(database.pool);
    const adServer = start('ad-server/main.ts', env);
    await untilReady('ad-server');
    const link = (
      await tollway({ ...env, DATABASE_URL: database.url }, 'link', String(ad.id), '--evergreen')
    ).stdout.trim();
    await until('a click', async () => (await clickLink(link)).clickId);
    proxy.freeze();
    const line = 'This process cannot report its state to the database';
    await until('the line', () => adServer.printed().includes(line), 30_000);
    const beganAt = performance.now();
    for (let index = 0; index < 20; index += 1) expect((await clickLink(link)).clickId).not.toBeNull();
    expect((performance.now() - beganAt) / 20).toBeLessThan(100);
    expect(adServer.printed().split(line)).toHaveLength(2);
    // The row cannot be deleted, which does not keep the process from ending.
    const endedAt = performance.now();
    expect(await adServer.end('SIGTERM')).toBe(0);
    expect(performance.now() - endedAt).toBeLessThan(10_000);
    await proxy.close();
    expect(await partOf('ad-server')).toMatchObject({ state: 'no_answer' });
  });
});
