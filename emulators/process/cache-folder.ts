import { execFile } from 'node:child_process';
import { mkdir, rename, stat } from 'node:fs/promises';
import { homedir, tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { type Guard, openGuard } from './guarded-process.ts';

/** Whether the cache has a folder of this name. A folder in the cache is always complete. */
export async function isCached(name: string): Promise<boolean> {
  return (await findCached(name)) !== null;
}

/** The folder of this name in the cache; `null` if there is none. */
export async function findCached(name: string): Promise<string | null> {
  const folder = join(await cacheFolder(), name);
  return (await exists(folder)) ? folder : null;
}

/**
 * Whether this process can install into the cache. Tests cannot, so that their results and durations do not depend on a registry;
 * `npm run test:tools` installs their tools.
 */
export function canInstall(): boolean {
  return process.env.VITEST === undefined;
}

/**
 * The folder of this name in the cache. If it does not exist, `make` creates it below the folder of a guard and returns its path. `what` describes
 * the work in a line on standard error. Throws if the folder does not exist and this process cannot install.
 */
export async function cached(
  name: string,
  what: string,
  make: (guard: Guard) => Promise<string>,
): Promise<string> {
  const folder = join(await cacheFolder(), name);
  if (await exists(folder)) return folder;
  if (!canInstall())
    throw new Error(`Expected ${folder}, got no such folder: run npm run test:tools to create it`);
  process.stderr.write(`${what}, once, into ${folder}\n`);
  await mkdir(join(folder, '..'), { recursive: true });
  // Created beside its final path and then renamed, so that concurrent runs never see an incomplete folder.
  const guard = await openGuard(`${folder}.part-`);
  try {
    await rename(await make(guard), folder).catch(async (error: unknown) => {
      // A concurrent run has created the folder, with the same content.
      if (!(await exists(folder))) throw error;
    });
  } finally {
    await guard.end();
  }
  return folder;
}

/** The output of a command; empty if the command does not exist or fails. */
export async function outputOf(command: string, ...args: string[]): Promise<string> {
  try {
    const { stdout, stderr } = await promisify(execFile)(command, args);
    return stdout + stderr;
  } catch {
    return '';
  }
}

async function cacheFolder(): Promise<string> {
  const { TOLLWAY_CACHE_DIR: configured, XDG_CACHE_HOME: xdg } = process.env;
  const folder = configured || join(xdg || join(homedir(), '.cache'), 'tollway');
  try {
    await mkdir(folder, { recursive: true });
    return folder;
  } catch {
    // The home folder is read-only in some containers.
    return join(tmpdir(), 'tollway-cache');
  }
}

async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}
