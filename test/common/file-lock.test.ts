import fs, { existsSync, mkdirSync, rmSync } from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import { join } from 'node:path';
import { expect, it, vi } from 'vitest';
import { lockFile } from '../../common/file-lock.ts';
import { forkChild, nextMessage } from '../support/child.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';
import { until } from '../support/until.ts';

it('is held once, in one process too, and free again after its release', () => {
  const path = join(temporaryFolder(), 'lock');
  const lock = lockFile(path);
  expect(lock).not.toBeNull();
  expect(lockFile(path)).toBeNull();
  expect(lockFile(path)).toBeNull();
  lock?.release();
  const next = lockFile(path);
  expect(next).not.toBeNull();
  next?.release();
});

it('is not lost to its owner when somebody else of the same process looks at it', async () => {
  const path = join(temporaryFolder(), 'lock');
  const lock = lockFile(path);
  expect(lockFile(path)).toBeNull();
  // POSIX locks of a process are gone once it closes any handle of the file: another process tells.
  const child = forkChild('lock', [path]);
  expect(await nextMessage(child)).toBe('refused');
  lock?.release();
});

it('is refused to others while its owner lives, and given up by the kernel when it is killed', async () => {
  const path = join(temporaryFolder(), 'lock');
  const child = forkChild('lock', [path]);
  expect(await nextMessage(child)).toBe('taken');
  expect(lockFile(path)).toBeNull();
  child.kill('SIGSTOP');
  expect(lockFile(path)).toBeNull();
  child.kill('SIGKILL');
  const lock = await until('the lock of the dead', () => lockFile(path));
  lock.release();
});

it('is held without anybody who refers to it, through every collection of garbage', async () => {
  const path = join(temporaryFolder(), 'lock');
  const child = forkChild('lock', [path], ['--expose-gc']);
  expect(await nextMessage(child)).toBe('taken');
  child.send('collect');
  expect(await nextMessage(child)).toBe('collected');
  expect(lockFile(path)).toBeNull();
  child.kill('SIGKILL');
});

it('is of one file: of one that was removed, nobody gets it', () => {
  const folder = temporaryFolder();
  const path = join(folder, 'lock');
  const lock = lockFile(path);
  rmSync(path);
  lock?.release();
  expect(existsSync(path)).toBe(false);
  lockFile(path)?.release();
});

it('throws what the file system says where there is no folder', () => {
  expect(() => lockFile(join(temporaryFolder(), 'missing', 'lock'))).toThrow();
});

it('throws where its place is taken by a folder', () => {
  const path = join(temporaryFolder(), 'lock');
  mkdirSync(path);
  expect(() => lockFile(path)).toThrow();
});

it('says that descriptors are missing, where SQLite only says that it cannot open the file', () => {
  const path = join(temporaryFolder(), 'lock');
  mkdirSync(path);
  const open = vi.spyOn(fs, 'openSync').mockImplementation(() => {
    throw Object.assign(new Error('EMFILE: too many open files'), { code: 'EMFILE' });
  });
  syncBuiltinESMExports();
  try {
    expect(() => lockFile(path)).toThrow('EMFILE');
  } finally {
    open.mockRestore();
    syncBuiltinESMExports();
  }
});

it('makes no taker wait: fifty looks at the lock of another cost the event loop no time of waiting', async () => {
  const path = join(temporaryFolder(), 'lock');
  const child = forkChild('lock', [path]);
  expect(await nextMessage(child)).toBe('taken');
  const cpu = process.cpuUsage();
  const startedAt = performance.now();
  for (let count = 0; count < 50; count += 1) expect(lockFile(path)).toBeNull();
  const elapsedMs = performance.now() - startedAt;
  const { user, system } = process.cpuUsage(cpu);
  // A wait for a lock takes time and no processor: 1 000 ms with SQLite's 20 ms each. Other load takes time, too, hence the wide margin.
  expect(elapsedMs - (user + system) / 1_000).toBeLessThan(500);
});
