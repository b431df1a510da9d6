import { rmSync } from 'node:fs';
import fs from 'node:fs/promises';
import { syncBuiltinESMExports } from 'node:module';
import { join } from 'node:path';
import { afterEach, expect, it, vi } from 'vitest';
import { listSegments } from '../../producer/spool-format.ts';
import { SpoolUsage } from '../../producer/spool-usage.ts';
import { append, bytesOnDisk, clickText, openSpool } from '../support/spool-fixture.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';

afterEach(() => {
  vi.restoreAllMocks();
  syncBuiltinESMExports();
});

const LONG = clickText(1, 3_000);

it('follows spools that grow, lose segments and are removed, without the own one', async () => {
  const root = temporaryFolder();
  const own = openSpool({ root });
  const other = openSpool({ root, segmentBytes: 8_192 });
  await append(own, [LONG]);
  const usage = new SpoolUsage(root, own.spoolId);
  expect([...(await usage.measure())]).toEqual([[other.folder, 0]]);
  for (let count = 0; count < 10; count += 1) {
    await append(other, [LONG]);
    expect((await usage.measure()).get(other.folder)).toBe(bytesOnDisk(other.folder));
  }
  expect(bytesOnDisk(other.folder)).toBeGreaterThan(30_000);
  rmSync(listSegments(other.folder)[0]?.path ?? '');
  expect((await usage.measure()).get(other.folder)).toBe(bytesOnDisk(other.folder));
  rmSync(other.folder, { recursive: true });
  expect([...(await usage.measure())]).toEqual([]);
});

it('is 0 for a folder that does not exist yet', async () => {
  const usage = new SpoolUsage(join(temporaryFolder(), 'spool'), 'own');
  expect([...(await usage.measure())]).toEqual([]);
});

it('is that of before while a spool, or the folder of all, cannot be listed', async () => {
  const root = temporaryFolder();
  const other = openSpool({ root });
  const another = openSpool({ root });
  await append(other, [LONG]);
  const usage = new SpoolUsage(root, 'own');
  const before = new Map(await usage.measure());
  await append(other, [LONG]);
  await append(another, [LONG]);
  const { readdir } = fs;
  let unlisted = other.folder;
  vi.spyOn(fs, 'readdir').mockImplementation((async (path: string) => {
    if (path === unlisted) throw Object.assign(new Error('EMFILE: too many open files'), { code: 'EMFILE' });
    return readdir(path);
  }) as unknown as typeof fs.readdir);
  syncBuiltinESMExports();
  const partly = new Map([
    [other.folder, before.get(other.folder)],
    [another.folder, bytesOnDisk(another.folder)],
  ]);
  expect(await usage.measure()).toEqual(partly);
  await append(another, [LONG]);
  unlisted = root;
  expect(await usage.measure()).toEqual(partly);
});
