import { globSync } from 'node:fs';
import { matchesGlob } from 'node:path';
import { expect, it } from 'vitest';
import { importsOf, ROOT } from './support/imports.ts';
import { LONG_FILES } from './support/long-first.ts';
import { projects } from './support/projects.ts';

const files = globSync('test/**/*.test.ts', { cwd: ROOT });
const isIn = (path: string, { include, exclude }: (typeof projects)[number]) =>
  include.some((pattern) => matchesGlob(path, pattern)) &&
  !exclude.some((pattern) => matchesGlob(path, pattern));
const projectsOf = (path: string) =>
  projects.filter((project) => isIn(path, project)).map(({ name }) => name);

/** Modules that start a server or a process with one. `test/support/setup-postgres.ts` starts what `database.ts` connects to. */
const SERVERS = [
  'cli/start/embedded-postgres.ts',
  'emulators/kafka/start.ts',
  'emulators/kinesis/start.ts',
  'test/support/database.ts',
  'test/support/setup-postgres.ts',
  'test/support/stack.ts',
];

it('every test file is in one project', () => {
  expect(files.length).toBeGreaterThan(100);
  expect(files.filter((path) => projectsOf(path).length !== 1)).toEqual([]);
});

it('tests of a folder, with a database and without one are in the projects of these names', () => {
  expect(projectsOf('test/brokers/kafka.test.ts')).toEqual(['brokers']);
  expect(projectsOf('test/functions/openwhisk.test.ts')).toEqual(['platforms']);
  expect(projectsOf('test/system/kill.test.ts')).toEqual(['system']);
  expect(projectsOf('test/page/live.test.ts')).toEqual(['page']);
  expect(projectsOf('test/ledger/accounts/accounts.test.ts')).toEqual(['database']);
  expect(projectsOf('test/common/uuid.test.ts')).toEqual(['unit']);
});

it('the files that start first exist', () => {
  expect(LONG_FILES.filter((path) => !files.includes(path))).toEqual([]);
});

it('a unit test starts no server and connects to none', () => {
  for (const path of SERVERS) expect(importsOf(path)).toContain(path);
  const found = files
    .filter((path) => projectsOf(path).includes('unit'))
    .flatMap((path) =>
      SERVERS.filter((server) => importsOf(path).has(server)).map((server) => `${path} → ${server}`),
    );
  expect(found).toEqual([]);
});
