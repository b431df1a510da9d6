import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { startProcess, untilReady } from '../../cli/start/supervised-process.ts';
import { freePorts } from '../../emulators/process/free-ports.ts';
import { ROOT } from '../support/imports.ts';
import { capturedLog, silent } from '../support/loggers.ts';
import { until } from '../support/until.ts';

const folder = mkdtempSync(join(tmpdir(), 'tollway-part-'));
const loaded = join(folder, 'loaded');
const ran = join(folder, 'ran');
afterAll(() => rmSync(folder, { recursive: true }));

beforeAll(() => {
  writeFileSync(
    join(folder, 'modules.mjs'),
    `import { writeFileSync } from 'node:fs'; writeFileSync(${JSON.stringify(loaded)}, '');`,
  );
  // Like a part, it ends when the channel to its parent closes.
  writeFileSync(
    join(folder, 'main.mjs'),
    `import { writeFileSync } from 'node:fs'; import { createServer } from 'node:http';
     const { PORT, DATABASE_URL, TOLLWAY_PRELOADED = null } = process.env;
     writeFileSync(${JSON.stringify(ran)}, JSON.stringify({ DATABASE_URL, TOLLWAY_PRELOADED }));
     process.once('disconnect', () => process.exit());
     createServer(({ url }, response) => (url === '/die' ? process.exit(7) : response.end())).listen(Number(PORT), '127.0.0.1');`,
  );
});

it('A part loads its modules at once, and runs when it gets its settings', async () => {
  const [port] = await freePorts(1);
  const path = (name: string) => relative(ROOT, join(folder, name));
  const failures: Error[] = [];
  const part = startProcess(
    'part',
    { script: path('main.mjs'), preloaded: [path('modules.mjs')] },
    `http://127.0.0.1:${port}`,
    {
      ...{ logger: silent, hasLowPriority: false, whileAway: '' },
      onStartFailure: (error) => failures.push(error),
    },
  );
  await until('the modules are loaded', () => existsSync(loaded));
  expect(existsSync(ran)).toBe(false);
  part.run({ ...process.env, PORT: String(port), DATABASE_URL: 'postgres://db/tollway' });
  await part.ready();
  expect(JSON.parse(readFileSync(ran, 'utf8'))).toEqual({
    DATABASE_URL: 'postgres://db/tollway',
    TOLLWAY_PRELOADED: null,
  });
  await part.stop(5_000);
  expect(failures).toEqual([]);
});

/** Starts a part, and makes it die once it is ready. `before` runs before it dies. */
async function startAndKill(before: (env: NodeJS.ProcessEnv) => void) {
  const [port] = await freePorts(1);
  const url = `http://127.0.0.1:${port}`;
  const { logger, lines } = capturedLog();
  const failures: Error[] = [];
  const part = startProcess(
    'part',
    { script: relative(ROOT, join(folder, 'main.mjs')), preloaded: ['common/errors.ts'] },
    url,
    {
      ...{ logger, hasLowPriority: true, whileAway: 'Nothing is lost.' },
      onStartFailure: (error) => failures.push(error),
    },
  );
  const env = { ...process.env, PORT: String(port) };
  part.run(env);
  await part.ready();
  before(env);
  await fetch(`${url}/die`).catch(() => {});
  const isBack = () =>
    fetch(url).then(
      () => true,
      () => false,
    );
  return { part, env, lines, failures, isBack };
}

it('A part that cannot be spawned again is logged and retried, whether Node emits the error or throws it', async () => {
  const { execPath } = process;
  const emitted = await startAndKill(() => {
    process.execPath = '/nowhere/node';
  });
  try {
    await until('the failed start', () =>
      emitted.lines.some((line) => line.includes('could not be started')),
    );
  } finally {
    process.execPath = execPath;
  }
  // More than Linux passes to a process in one variable (E2BIG). The part that dies got its settings as a message.
  const thrown = await startAndKill((env) => {
    env.LARGE = 'x'.repeat(200_000);
  });
  await until('the failed start', () => thrown.lines.some((line) => line.includes('could not be started')));
  delete (thrown.env as NodeJS.ProcessEnv).LARGE;
  for (const { part, lines, failures, isBack } of [emitted, thrown]) {
    await until('the part to be back', isBack);
    expect(new Set(lines)).toEqual(
      new Set([
        'error The part died and is started again. Nothing is lost.',
        'error The part could not be started and is tried again. Nothing is lost.',
      ]),
    );
    expect(failures).toEqual([]);
    await part.stop(5_000);
  }
});

it('A part that cannot be spawned at the first start fails the start, and its stop does not wait for it', async () => {
  const { execPath } = process;
  process.execPath = '/nowhere/node';
  const failures: Error[] = [];
  try {
    const part = startProcess('part', { script: 'main.mjs', preloaded: [] }, 'http://127.0.0.1:1', {
      ...{ logger: silent, hasLowPriority: false, whileAway: '' },
      onStartFailure: (error) => failures.push(error),
    });
    part.run({});
    await until('the failure', () => failures.length > 0);
    await part.stop(5_000);
  } finally {
    process.execPath = execPath;
  }
  expect(failures).toMatchObject([{ code: 'part_failed', message: expect.stringContaining('ENOENT') }]);
});

it('A part that accepts a connection and does not answer is not ready in time', async () => {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  const port = typeof address === 'object' ? address?.port : 0;
  try {
    await expect(untilReady('part', `http://127.0.0.1:${port}`, 500)).rejects.toMatchObject({
      code: 'not_ready',
      message: 'Expected the part to be ready within 0.5 s, got: no answer',
    });
  } finally {
    server.close();
  }
});
