import fs, { existsSync, mkdirSync, rmSync } from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import { join } from 'node:path';
import { describe, expect, it, vi } from 'vitest';
import { lockFile } from '../../common/file-lock.ts';
import { forkChild, nextMessage } from '../support/child.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';
import { until } from '../support/until.ts';

describe('a file lock', () => {
  it('is exclusive, also within one process, until it is released', () => {
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

  it('is not released by another attempt in the same process', async () => {
    const path = join(temporaryFolder(), 'lock');
    const lock = lockFile(path);
    expect(lockFile(path)).toBeNull();
    // A process loses its POSIX locks when it closes any handle of the file, so another process checks the lock.
    const child = forkChild('lock', [path]);
    expect(await nextMessage(child)).toBe('refused');
    lock?.release();
  });

  it('is refused to other processes while its owner lives, and released by the kernel when the owner is killed', async () => {
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

  it('is not released by the garbage collector', async () => {
    const path = join(temporaryFolder(), 'lock');
    const child = forkChild('lock', [path], ['--expose-gc']);
    expect(await nextMessage(child)).toBe('taken');
    child.send('collect');
    expect(await nextMessage(child)).toBe('collected');
    expect(lockFile(path)).toBeNull();
    child.kill('SIGKILL');
  });

  it('is refused for a file that was removed', () => {
    const folder = temporaryFolder();
    const path = join(folder, 'lock');
    const lock = lockFile(path);
    rmSync(path);
    lock?.release();
    expect(existsSync(path)).toBe(false);
    lockFile(path)?.release();
  });

  it('throws the error of the file system if there is no folder', () => {
    expect(() => lockFile(join(temporaryFolder(), 'missing', 'lock'))).toThrow();
  });

  it('throws if its path is a folder', () => {
    const path = join(temporaryFolder(), 'lock');
    mkdirSync(path);
    expect(() => lockFile(path)).toThrow();
  });

  it('reports EMFILE when the process has no free file descriptor, where SQLite reports only that it cannot open the file', () => {
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

  it('is refused without a wait: fifty attempts do not block the event loop', async () => {
    const path = join(temporaryFolder(), 'lock');
    const child = forkChild('lock', [path]);
    expect(await nextMessage(child)).toBe('taken');
    const cpu = process.cpuUsage();
    const startedAt = performance.now();
    for (let count = 0; count < 50; count += 1) expect(lockFile(path)).toBeNull();
    const elapsedMs = performance.now() - startedAt;
    const { user, system } = process.cpuUsage(cpu);
    // Waiting would take time but no CPU: 1 000 ms with SQLite's 20 ms each. The margin is wide because of other load on the machine.
    expect(elapsedMs - (user + system) / 1_000).toBeLessThan(500);
  });
});
