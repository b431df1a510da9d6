import { execFile } from 'node:child_process';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { cached, isCached } from '../../emulators/process/cache-folder.ts';
import { runToEnd } from '../../emulators/process/guarded-process.ts';

/** The open fork of the Serverless Framework, which asks for no account. */
const OSLS_VERSION = '4.3.1';
const CACHED_NAME = `osls-${OSLS_VERSION}`;

/** One line that says how to get osls; null if it is installed. */
export async function oslsIsMissing(): Promise<string | null> {
  return (await isCached(CACHED_NAME)) ? null : `osls ${OSLS_VERSION} is missing: run npm run test:tools`;
}

/**
 * The folder in which osls is installed, from npm's registry if it is not there yet. It is 96 MB of packages for one test: too much
 * to ask of everybody who installs Tollway, so it is none of its dependencies.
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

/** Runs osls in a folder that has a serverless.yml. */
export async function runOsls(folder: string, args: readonly string[]): Promise<void> {
  const place = await oslsFolder();
  const script = join(place, 'node_modules', 'osls', 'bin', 'serverless.js');
  // Nothing of the person who runs this: no region, no credentials, no settings of theirs.
  const { PATH = '' } = process.env;
  const env = { PATH, HOME: folder, AWS_EC2_METADATA_DISABLED: 'true' };
  await promisify(execFile)(process.execPath, [script, ...args], { cwd: folder, env });
}
