import { type FileHandle, open, readdir, readFile, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { createFolder } from '../../common/create-folder.ts';
import { errorCode, TollwayError } from '../../common/errors.ts';
import { lockFile } from '../../common/file-lock.ts';
import type { ExportTarget, TargetFile } from './target.ts';
import { onTarget, targetInUse } from './target-errors.ts';

const LOCK_NAME = '.export.lock';
/** The end of the names of files that are being written. The next run writes the same file again, so none is left behind. */
const PARTIAL_SUFFIX = '.partial';

/** What a path is that cannot be made a folder, by the code of the error. */
const NOT_A_FOLDER: Readonly<Record<string, string>> = {
  EEXIST: 'the file',
  ENOTDIR: 'a path below a file:',
  // The folder above it takes no folders, such as /proc.
  ENOENT: 'a path that cannot be created:',
};

/** Opens a folder; see `openTarget`. */
export async function openFolderTarget(folder: string): Promise<ExportTarget> {
  await makeTarget(folder);
  const lock = await onTarget('write', join(folder, LOCK_NAME), async () =>
    lockFile(join(folder, LOCK_NAME)),
  );
  if (lock === null) throw targetInUse(folder);
  return {
    list: (suffix) =>
      onTarget('list', folder, async () =>
        (await readdir(folder)).filter((name) => name.endsWith(suffix)).sort(),
      ),
    read: (name) => onTarget('read', join(folder, name), () => readFile(join(folder, name), 'utf8')),
    create: (name) => onTarget('write', join(folder, name), () => createFile(folder, name)),
    // The kernel keeps the lock as long as this process lives.
    assertLocked: async () => {},
    close: async () => lock.release(),
  };
}

async function makeTarget(folder: string): Promise<void> {
  try {
    createFolder(folder);
  } catch (cause) {
    const got = NOT_A_FOLDER[errorCode(cause) ?? ''];
    if (got === undefined) return onTarget('write', folder, () => Promise.reject(cause));
    const message = `Expected s3://bucket[/prefix] or a folder, got ${got} ${folder}`;
    throw new TollwayError('bad_target', message, { cause });
  }
}

async function createFile(folder: string, name: string): Promise<TargetFile> {
  const path = join(folder, name);
  const partial = path + PARTIAL_SUFFIX;
  const file = await open(partial, 'w');
  return {
    write: (bytes) => onTarget('write', path, () => writeAll(file, bytes)),
    commit: () =>
      onTarget('write', path, async () => {
        // Before the rename: otherwise a loss of power can leave the name with an empty file.
        await file.sync();
        await file.close();
        await rename(partial, path);
        await syncFolder(folder);
      }),
    discard: async () => {
      await file.close().catch(() => {});
      await rm(partial, { force: true }).catch(() => {});
    },
  };
}

/** Writes all bytes: one write can be short, such as on a disk that is almost full. */
async function writeAll(file: FileHandle, bytes: Uint8Array): Promise<void> {
  for (let written = 0; written < bytes.length; ) {
    written += (await file.write(bytes, written)).bytesWritten;
  }
}

/** The rename itself survives a loss of power only after this. */
async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
