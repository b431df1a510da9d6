import { once } from 'node:events';
import { statSync } from 'node:fs';
import { join } from 'node:path';
import type { BenchContext } from './bench.ts';
import { type BenchResult, compareLimit } from './result.ts';

const ROOT = join(import.meta.dirname, '../..');
export const LAMBDAS = [
  'lambda-kinesis',
  'lambda-kafka',
  'lambda-file',
  'lambda-reconcile',
  'lambda-maintenance',
  'lambda-redirect',
] as const;
const OTHERS = ['openwhisk', 'cloud-event'] as const;
/** The memory that Lambda gives a function unless it is told otherwise. */
export const MEMORY_MEGABYTES = 128;
const ZIP_KILOBYTES_MAX = 1_000;

/** Makes `dist/functions` anew, of the sources as they are. */
export async function buildFunctions({ resources, progress }: BenchContext): Promise<void> {
  progress.say('Building the functions');
  const build = resources.child(['npm', 'run', '--silent', 'build:functions'], {
    cwd: ROOT,
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  const [code] = await once(build, 'exit');
  if (code !== 0) throw new Error(`npm run build:functions ended with ${code}`);
}

/** Where the build has put a function, as in its zip. */
export function functionFolder(name: string): string {
  return join(ROOT, 'dist', 'functions', name);
}

/** The sizes of the zips. */
export function measureBundleSizes(): BenchResult[] {
  return [...LAMBDAS, ...OTHERS].map((name) => {
    const kilobytes = statSync(`${functionFolder(name)}.zip`).size / 1e3;
    return compareLimit(`bundle-${name}`, 'kB', 'most', kilobytes, ZIP_KILOBYTES_MAX, []);
  });
}
