import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { ROOT } from './imports.ts';

/** All TypeScript in folders of the repository, tests included; paths from the root. A new folder is found by itself. */
const paths = globSync('*/**/*.{ts,tsx}', { cwd: ROOT, exclude: ['node_modules', 'dist', '.*'] });

/** The top folders with TypeScript, without `test`. */
export const SOURCE_FOLDERS: readonly string[] = [...new Set(paths.map((path) => path.split('/')[0] ?? ''))]
  .filter((folder) => folder !== 'test')
  .sort();

/** A file with TypeScript: its path from the root of the repository, and its text. */
export type SourceFile = { readonly path: string; readonly text: string };

/** The files with TypeScript in these top folders. */
export function readSources(folders: readonly string[] = SOURCE_FOLDERS): SourceFile[] {
  return paths
    .filter((path) => folders.includes(path.split('/')[0] ?? ''))
    .sort()
    .map((path) => ({ path, text: readFileSync(join(ROOT, path), 'utf8') }));
}

/** The folders of what runs in production. */
const PRODUCT_FOLDERS = [
  'ad-server',
  'brokers',
  'cli',
  'common',
  'console',
  'ledger',
  'migrations',
  'processor',
  'producer',
];

/** The code that runs in production, without comments and without files whose path begins with one of these texts. */
export function productCode(without: readonly string[]): string {
  return readSources(PRODUCT_FOLDERS)
    .filter(({ path }) => !without.some((beginning) => path.startsWith(beginning)))
    .map(({ text }) => text.replaceAll(/\/\*[\s\S]*?\*\/|^\s*\/\/.*$/gm, ''))
    .join('\n');
}
