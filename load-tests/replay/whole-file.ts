import { createReadStream, createWriteStream, mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';

/**
 * Calls `use` with a file that can be read more than once: `path` itself, or, where that is a pipe, or `-` for `input`, a temporary copy. The copy is
 * removed afterwards. `name` is for messages: `path` as it was given, or `standard input`. Throws what writing the copy throws, and what `use` throws.
 */
export async function withWholeFile<T>(
  path: string,
  input: Readable,
  use: (path: string, name: string) => Promise<T>,
): Promise<T> {
  if (path !== '-' && statSync(path, { throwIfNoEntry: false })?.isFIFO() !== true) return use(path, path);
  const folder = mkdtempSync(join(tmpdir(), 'tollway-replay-'));
  try {
    const copy = join(folder, 'standard-input');
    await pipeline(path === '-' ? input : createReadStream(path), createWriteStream(copy));
    return await use(copy, path === '-' ? 'standard input' : path);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
