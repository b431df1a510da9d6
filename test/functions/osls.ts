import { execFile } from 'node:child_process';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { cached, isCached } from '../../emulators/process/cache-folder.ts';
import { runToEnd } from '../../emulators/process/guarded-process.ts';

/** The open-source fork of the Serverless Framework, which needs no account. */
const OSLS_VERSION = '4.3.1';
const CACHED_NAME = `osls-${OSLS_VERSION}`;

/** One line that says how to install osls; `null` if it is installed. */
export async function oslsIsMissing(): Promise<string | null> {
  return (await isCached(CACHED_NAME)) ? null : `osls ${OSLS_VERSION} is missing: run npm run test:tools`;
}

/**
 * The folder in which osls is installed. Installs it if it is not cached. Its 96 MB of packages for one test are too much
 * for a dependency.
 */
export async function oslsFolder(): Promise<string> {
  return cached(CACHED_NAME, `Installing osls ${OSLS_VERSION}`, async (guard) => {
    const install = join(guard.folder, 'install');
    await mkdir(install);
    const options = [`--prefix=${install}`, '--ignore-scripts', '--no-audit', '--no-fund'];
    await runToEnd(guard, 'npm', ['install', `osls@${OSLS_VERSION}`, ...options]);
    return install;
  });
}

/** Runs osls in a folder with a serverless.yml. */
export async function runOsls(folder: string, args: readonly string[]): Promise<void> {
  const place = await oslsFolder();
  const script = join(place, 'node_modules', 'osls', 'bin', 'serverless.js');
  // Without the region, credentials and settings of this process.
  const { PATH = '' } = process.env;
  const env = { PATH, HOME: folder, AWS_EC2_METADATA_DISABLED: 'true' };
  await promisify(execFile)(process.execPath, [script, ...args], { cwd: folder, env });
}
