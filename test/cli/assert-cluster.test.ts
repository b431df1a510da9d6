import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { assertCluster } from '../../cli/start/assert-cluster.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';

const folder = (files: Readonly<Record<string, string>>) => (path: string) => {
  mkdirSync(path);
  for (const [name, text] of Object.entries(files)) writeFileSync(join(path, name), text);
};

it.each([
  ['an empty folder', folder({}), 'an empty folder. If a volume should be mounted there, mount it'],
  ['an empty volume', (path: string) => mkdirSync(join(path, 'lost+found'), { recursive: true }), 'an empty'],
  ['another folder', folder({ 'notes.txt': 'x' }), 'a folder without the file PG_VERSION. Restore it'],
  ['an older cluster', folder({ PG_VERSION: '17\n' }), 'one of PostgreSQL 17. Use the version of Tollway'],
  ['a file', (path: string) => writeFileSync(path, ''), 'a file. Move it away'],
])('npm start says what it found in place of its database: %s', (_, make, message) => {
  const path = join(temporaryFolder(), 'postgres');
  make(path);
  const expected = `Expected a data folder of PostgreSQL 18 in ${path}, got ${message}`;
  expect(() => assertCluster(path, '18')).toThrow(
    expect.objectContaining({ code: 'embedded_postgres', message: expect.stringContaining(expected) }),
  );
});

it('npm start accepts the data folder of its own version', () => {
  const path = join(temporaryFolder(), 'postgres');
  folder({ PG_VERSION: '18\n' })(path);
  expect(() => assertCluster(path, '18')).not.toThrow();
});
