import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { cached, isCached } from '../../emulators/process/cache-folder.ts';
import { runToEnd } from '../../emulators/process/guarded-process.ts';

/** Google's Functions Framework, which runs HTTP functions on Cloud Run and elsewhere. */
const VERSION = '5.0.5';
const CACHED_NAME = `functions-framework-${VERSION}`;

/** One line that says how to install the Functions Framework; `null` if it is installed. */
export async function frameworkIsMissing(): Promise<string | null> {
  if (await isCached(CACHED_NAME)) return null;
  return `The Functions Framework ${VERSION} is missing: run npm run test:tools`;
}

/** The path of its script. Installs it if it is not cached: 130 packages for one test are too many for a dependency. */
export async function functionsFramework(): Promise<string> {
  const folder = await cached(CACHED_NAME, `Installing the Functions Framework ${VERSION}`, async (guard) => {
    const install = join(guard.folder, 'install');
    await mkdir(install);
    const options = [`--prefix=${install}`, '--ignore-scripts', '--no-audit', '--no-fund'];
    await runToEnd(guard, 'npm', ['install', `@google-cloud/functions-framework@${VERSION}`, ...options]);
    return install;
  });
  return join(folder, 'node_modules', '@google-cloud', 'functions-framework', 'build', 'src', 'main.js');
}
