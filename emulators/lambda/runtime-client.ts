import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { cached, canInstall, isCached, outputOf } from '../process/cache-folder.ts';
import { runToEnd } from '../process/guarded-process.ts';

/** The version of AWS's runtime client for Node, the npm package of /var/runtime/index.mjs in Lambda. */
const RIC_VERSION = '4.0.2';
const CACHED_NAME = `aws-lambda-ric-${RIC_VERSION}-${process.platform}-${process.arch}-${process.versions.modules}`;

/**
 * The programs that its installation needs, because it compiles libcurl and a Node addon. They are too many for a regular dependency. Each is
 * detected by a program that answers `--version`.
 */
const NEEDED: readonly (readonly [name: string, program: string])[] = [
  ['npm', 'npm'],
  ['g++', 'g++'],
  ['make', 'make'],
  ['cmake', 'cmake'],
  ['autoconf', 'autoconf'],
  ['automake', 'automake'],
  ['libtool', 'libtoolize'],
  ['xz', 'xz'],
  ['python3', 'python3'],
];

/** One line that says what to install for AWS's runtime client, or `null` if it can run. Installs nothing. */
export async function ricIsMissing(): Promise<string | null> {
  // On other systems its installation skips the addon, and it does not start.
  if (process.platform !== 'linux') return "AWS's runtime client is missing: it needs Linux";
  if (await isCached(CACHED_NAME)) return null;
  const found = await Promise.all(
    NEEDED.map(async ([name, program]) => ({ name, isFound: (await outputOf(program, '--version')) !== '' })),
  );
  const missing = found.filter(({ isFound }) => !isFound).map(({ name }) => name);
  if (missing.length > 0)
    return `AWS's runtime client is missing: install ${missing.join(', ')}, then run npm run test:tools`;
  return canInstall() ? null : "AWS's runtime client is missing: run npm run test:tools";
}

/**
 * The path of the runtime client's script. Installs and compiles it if it is not in the cache, which takes about a minute. Throws a one-line
 * error that says what to install if that is not possible.
 */
export async function lambdaRic(): Promise<string> {
  const missing = await ricIsMissing();
  if (missing !== null) throw new Error(missing);
  const folder = await cached(CACHED_NAME, `Compiling aws-lambda-ric ${RIC_VERSION}`, async (guard) => {
    const target = join(guard.folder, 'install');
    await mkdir(target);
    // Newer versions of npm run the install scripts of a package only if they are allowed explicitly.
    const description = {
      private: true,
      dependencies: { 'aws-lambda-ric': RIC_VERSION },
      allowScripts: { 'aws-lambda-ric': true },
    };
    await writeFile(join(target, 'package.json'), JSON.stringify(description));
    await runToEnd(guard, 'npm', ['install', `--prefix=${target}`, '--no-audit', '--no-fund']);
    return target;
  });
  return join(folder, 'node_modules', 'aws-lambda-ric', 'index.mjs');
}
