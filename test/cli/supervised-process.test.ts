import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { startProcess } from '../../cli/start/supervised-process.ts';
import { freePorts } from '../../emulators/process/free-ports.ts';
import { ROOT } from '../support/imports.ts';
import { silent } from '../support/loggers.ts';
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
     createServer((_, response) => response.end()).listen(Number(PORT), '127.0.0.1');`,
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
