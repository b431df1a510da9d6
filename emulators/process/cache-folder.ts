import { execFile } from 'node:child_process';
import { mkdir, rename, stat } from 'node:fs/promises';
import { homedir, tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { type Guard, openGuard } from './guarded-process.ts';

/** Whether the cache holds a folder of this name: complete whenever it exists. */
export async function isCached(name: string): Promise<boolean> {
  return exists(join(await cacheFolder(), name));
}

/**
 * Whether this process may install into the cache. Tests may not: what a registry does must not decide whether they pass, nor how
 * long they take. `npm run test:tools` installs what they need.
 */
export function canInstall(): boolean {
  return process.env.VITEST === undefined;
}

/**
 * The cache's folder of this name. If it is not there yet, `make` makes it, below the guard's folder, and answers where;
 * `what` tells a person what is being waited for.
 */
export async function cached(
  name: string,
  what: string,
  make: (guard: Guard) => Promise<string>,
): Promise<string> {
  const folder = join(await cacheFolder(), name);
  if (await exists(folder)) return folder;
  if (!canInstall())
    throw new Error(`Expected ${folder}, which npm run test:tools makes, got no such folder`);
  process.stderr.write(`${what}, once, into ${folder}\n`);
  await mkdir(join(folder, '..'), { recursive: true });
  // Next to its place, to be renamed in one step: a run that looks meanwhile sees nothing or everything.
  const guard = await openGuard(`${folder}.part-`);
  try {
    await rename(await make(guard), folder).catch(async (error: unknown) => {
      // Another run was faster, with the same content.
      if (!(await exists(folder))) throw error;
    });
  } finally {
    await guard.end();
  }
  return folder;
}

/** What a command prints; nothing if there is no such command, or it fails. */
export async function printed(command: string, ...args: string[]): Promise<string> {
  try {
    const { stdout, stderr } = await promisify(execFile)(command, args);
    return stdout + stderr;
  } catch {
    return '';
  }
}

async function cacheFolder(): Promise<string> {
  const { TOLLWAY_CACHE_DIR: ours, XDG_CACHE_HOME: xdg } = process.env;
  const wanted = ours || join(xdg || join(homedir(), '.cache'), 'tollway');
  try {
    await mkdir(wanted, { recursive: true });
    return wanted;
  } catch {
    // A home that cannot be written to, as in some containers.
    return join(tmpdir(), 'tollway-cache');
  }
}

async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}
