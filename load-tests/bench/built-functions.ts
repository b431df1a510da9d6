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
/** Lambda's default memory of a function, in MB. */
export const MEMORY_MEGABYTES = 128;
const ZIP_KILOBYTES_MAX = 1_000;

/** Builds `dist/functions` from the current sources. */
export async function buildFunctions({ resources, progress }: BenchContext): Promise<void> {
  progress.say('Building the functions');
  const build = resources.child(['npm', 'run', '--silent', 'build:functions'], {
    cwd: ROOT,
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  const [code] = await once(build, 'exit');
  if (code !== 0) throw new Error(`npm run build:functions ended with ${code}`);
}

/** The folder of a built function, with the content of its zip. */
export function functionFolder(name: string): string {
  return join(ROOT, 'dist', 'functions', name);
}

/** Measures the sizes of the zip files. */
export function measureBundleSizes(): BenchResult[] {
  return [...LAMBDAS, ...OTHERS].map((name) => {
    const kilobytes = statSync(`${functionFolder(name)}.zip`).size / 1e3;
    return compareLimit(`bundle-${name}`, 'kB', 'max', kilobytes, ZIP_KILOBYTES_MAX, []);
  });
}
