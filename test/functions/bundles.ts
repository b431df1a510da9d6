import { beforeAll } from 'vitest';
import { buildFunctions } from '../../deploy/build-functions.ts';
import { suiteFolder } from '../support/temporary-folder.ts';

/** Builds all functions for the suite that calls it, at the top of its file. Returns the folder of the bundles. */
export function builtFunctions(): string {
  const root = suiteFolder();
  beforeAll(async () => void (await buildFunctions(root)));
  return root;
}
