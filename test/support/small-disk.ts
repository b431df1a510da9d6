import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, statfsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { onTestFinished } from 'vitest';
import { errorCode } from '../../common/errors.ts';
import { isSkippedInCiToo } from './skipped.ts';
import { temporaryFolder } from './temporary-folder.ts';

/** Whether this process has the right to mount a file system. */
const mayMount = (() => {
  if (process.platform !== 'linux' || process.getuid?.() !== 0) return false;
  const folder = mkdtempSync('/tmp/tollway-mount-');
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=64k', 'tmpfs', folder], { stdio: 'ignore' });
    execFileSync('umount', [folder]);
    return true;
  } catch {
    return false;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
})();

/** Whether tests on a full disk are skipped, because they mount one. */
export const areMountsSkipped = isSkippedInCiToo(
  mayMount ? null : 'A small disk cannot be mounted: run as root on Linux',
);

/** Mounts a real file system of a given size for one test, with a maximum number of files and folders. */
export function smallDisk(size: string, files = 1_000): string {
  const folder = join(temporaryFolder(), 'disk');
  mkdirSync(folder);
  execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${size},nr_inodes=${files}`, 'tmpfs', folder]);
  onTestFinished(() => void execFileSync('umount', ['-l', folder]));
  return folder;
}

/** Fills the rest of a disk, to the last page. */
export function fill(disk: string): string {
  const path = join(disk, 'ballast');
  const { bavail, bsize } = statfsSync(disk);
  try {
    writeFileSync(path, Buffer.alloc(bavail * bsize));
  } catch (error) {
    if (errorCode(error) !== 'ENOSPC') throw error;
  }
  return path;
}

/** Creates files until the disk accepts no more. Returns their paths. */
export function fillWithFiles(disk: string): string[] {
  const made: string[] = [];
  for (;;) {
    const path = join(disk, `file-${made.length}`);
    try {
      writeFileSync(path, '');
    } catch (error) {
      if (errorCode(error) !== 'ENOSPC') throw error;
      return made;
    }
    made.push(path);
  }
}
