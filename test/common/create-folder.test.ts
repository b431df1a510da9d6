import { statSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { createFolder } from '../../common/create-folder.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';

describe('createFolder', () => {
  it('creates what is missing, with its permissions, and accepts what exists', () => {
    const path = join(temporaryFolder(), 'a', 'b', 'c');
    createFolder(path, 0o700);
    createFolder(path);
    expect(statSync(path).mode & 0o777).toBe(0o700);
    expect(statSync(join(path, '..')).mode & 0o777).toBe(0o700);
  });

  it('throws for a file, a path below a file and a link to nothing', () => {
    const file = join(temporaryFolder(), 'file');
    writeFileSync(file, '');
    expect(() => createFolder(file)).toThrow('EEXIST');
    expect(() => createFolder(join(file, 'below', 'it'))).toThrow('ENOTDIR');
    const link = join(temporaryFolder(), 'link');
    symlinkSync(`${file}-missing`, link);
    expect(() => createFolder(link)).toThrow('EEXIST');
  });

  it.runIf(process.platform === 'linux')('throws in a folder that takes no folders', () => {
    expect(() => createFolder('/proc/tollway')).toThrow(
      "ENOENT: no such file or directory, mkdir '/proc/tollway'",
    );
    expect(() => createFolder('/proc/tollway/a/b')).toThrow('ENOENT');
  });
});
