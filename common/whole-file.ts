import { createReadStream, createWriteStream, mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';

/**
 * Calls `use` with a file that can be read more than once: `path` itself, or a temporary copy of a pipe or of `input` (for `-`). Removes the copy
 * afterwards. `name` is for messages: `path` as given, or `standard input`. Throws the errors of writing the copy and of `use`.
 */
export async function withWholeFile<T>(
  path: string,
  input: Readable,
  use: (path: string, name: string) => Promise<T>,
): Promise<T> {
  if (path !== '-' && statSync(path, { throwIfNoEntry: false })?.isFIFO() !== true) return use(path, path);
  const folder = mkdtempSync(join(tmpdir(), 'tollway-file-'));
  try {
    const copy = join(folder, 'standard-input');
    await pipeline(path === '-' ? input : createReadStream(path), createWriteStream(copy));
    return await use(copy, path === '-' ? 'standard input' : path);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
