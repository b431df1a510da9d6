import { existsSync, renameSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, inject } from 'vitest';
import { lockFile } from '../../common/file-lock.ts';
import { buildFunctions } from '../../deploy/build-functions.ts';
import { until } from '../support/until.ts';

/** How long a suite waits while another one builds the functions, in ms. */
const BUILD_MS_MAX = 50_000;

/**
 * Builds all functions before the suite that calls it, at the top of its file, unless another suite of this run has built them. Returns the
 * folder of the bundles, in which suites change nothing.
 */
export function builtFunctions(): string {
  const folder = inject('functionsFolder');
  const root = join(folder, 'built');
  beforeAll(async () => {
    const lock = await until('the end of another build', () => lockFile(join(folder, 'lock')), BUILD_MS_MAX);
    try {
      if (existsSync(root)) return;
      // A build that fails leaves no folder of this name, so the next suite builds again.
      await buildFunctions(`${root}-partly`);
      renameSync(`${root}-partly`, root);
    } finally {
      lock.release();
    }
  });
  return root;
}
