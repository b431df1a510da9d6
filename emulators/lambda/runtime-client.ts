import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { cached, isCached, canInstall, printed } from '../process/cache-folder.ts';
import { runToEnd } from '../process/guarded-process.ts';

/** AWS's own runtime client for Node: what Lambda runs as /var/runtime/index.mjs, as an npm package. */
const RIC_VERSION = '4.0.2';
const CACHED_NAME = `aws-lambda-ric-${RIC_VERSION}-${process.platform}-${process.arch}-${process.versions.modules}`;

/**
 * What npm needs to install it: it compiles libcurl and a Node addon. Too much to ask of everybody who installs us, so it
 * is none of our dependencies. Each is looked for by a program of its own that answers --version.
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

/** One line that says what AWS's runtime client needs and this machine lacks; null if nothing. It installs nothing. */
export async function ricIsMissing(): Promise<string | null> {
  // Elsewhere its install leaves out the addon without which it does not start.
  if (process.platform !== 'linux') return "AWS's runtime client is missing: it needs Linux";
  if (await isCached(CACHED_NAME)) return null;
  const found = await Promise.all(
    NEEDED.map(async ([name, program]) => ({ name, is: (await printed(program, '--version')) !== '' })),
  );
  const missing = found.filter(({ is }) => !is).map(({ name }) => name);
  if (missing.length > 0)
    return `AWS's runtime client is missing: install ${missing.join(', ')}, then run npm run test:tools`;
  return canInstall() ? null : "AWS's runtime client is missing: run npm run test:tools";
}

/**
 * The path of the runtime client's script, compiled from npm's registry if it is not there yet, which takes about a
 * minute. Throws one line that says what to install if that cannot be.
 */
export async function lambdaRic(): Promise<string> {
  const missing = await ricIsMissing();
  if (missing !== null) throw new Error(missing);
  const folder = await cached(CACHED_NAME, `Compiling aws-lambda-ric ${RIC_VERSION}`, async (guard) => {
    const place = join(guard.folder, 'install');
    await mkdir(place);
    // Newer versions of npm run a package's install scripts only where its user has allowed it.
    const description = {
      private: true,
      dependencies: { 'aws-lambda-ric': RIC_VERSION },
      allowScripts: { 'aws-lambda-ric': true },
    };
    await writeFile(join(place, 'package.json'), JSON.stringify(description));
    await runToEnd(guard, 'npm', ['install', `--prefix=${place}`, '--no-audit', '--no-fund']);
    return place;
  });
  return join(folder, 'node_modules', 'aws-lambda-ric', 'index.mjs');
}
