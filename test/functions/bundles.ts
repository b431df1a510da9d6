import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll } from 'vitest';
import { buildFunctions } from '../../deploy/build-functions.ts';

/** Builds all functions for the suite that calls it, at the top of its file. Answers the folder they will stand in. */
export function builtFunctions(): string {
  const root = mkdtempSync(join(tmpdir(), 'tollway-functions-'));
  beforeAll(async () => void (await buildFunctions(root)));
  afterAll(() => rmSync(root, { recursive: true, force: true }));
  return root;
}
