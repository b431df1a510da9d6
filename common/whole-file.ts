import { randomUUID } from 'node:crypto';
import { createReadStream, createWriteStream, rmSync, statSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import type { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { errorMessage, TollwayError } from './errors.ts';

/** Signals that end a command: Ctrl-C, a supervisor, a terminal that is closed. */
const ENDING_SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

/**
 * Calls `use` with a file that can be read more than once: `path` itself, or a temporary copy of a pipe or of `input` (for `-`). Removes the copy
 * afterwards, also if a signal such as Ctrl-C ends the process. `name` is for messages: `path` as given, or `standard input`. Throws `bad_file` if
 * it cannot be copied, and the errors of `use`.
 */
export async function withWholeFile<T>(
  path: string,
  input: Readable,
  use: (path: string, name: string) => Promise<T>,
): Promise<T> {
  if (path !== '-' && !isPipe(path)) return use(path, path);
  const name = path === '-' ? 'standard input' : path;
  const folder = join(tmpdir(), `tollway-file-${randomUUID()}`);
  const stopRemoving = removeAtEnd(folder);
  try {
    const copy = join(folder, 'standard-input');
    await copyTo(copy, path === '-' ? input : createReadStream(path)).catch((cause: unknown) => {
      const message = `${name}: cannot be copied to ${folder}, to be read twice: ${errorMessage(cause)}`;
      throw new TollwayError('bad_file', message, { cause });
    });
    return await use(copy, name);
  } finally {
    stopRemoving();
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Removes a folder when a signal or `process.exit` ends the process, which then ends as without it. Call the result to stop that. */
function removeAtEnd(folder: string): () => void {
  const remove = () => rmSync(folder, { recursive: true, force: true });
  const onSignal = (signal: NodeJS.Signals) => {
    remove();
    stop();
    // With other listeners they decide when the process ends. Without, the signal ends it now.
    if (process.listenerCount(signal) === 0) process.kill(process.pid, signal);
  };
  const stop = () => {
    process.off('exit', remove);
    for (const signal of ENDING_SIGNALS) process.off(signal, onSignal);
  };
  process.on('exit', remove);
  for (const signal of ENDING_SIGNALS) process.on(signal, onSignal);
  return stop;
}

function isPipe(path: string): boolean {
  try {
    return statSync(path).isFIFO();
  } catch {
    // `use` says what is wrong with the path.
    return false;
  }
}

async function copyTo(path: string, input: Readable): Promise<void> {
  await mkdir(dirname(path), { mode: 0o700 });
  await pipeline(input, createWriteStream(path));
}
