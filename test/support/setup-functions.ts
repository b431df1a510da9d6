import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestProject } from 'vitest/node';

declare module 'vitest' {
  interface ProvidedContext {
    /** The folder in which the first suite that needs the bundles of the functions builds them for all suites of the run. */
    functionsFolder: string;
  }
}

/** Provides a folder for the bundles of the functions. The returned function removes it after the last test. */
export default function setUp(project: TestProject): () => void {
  const folder = mkdtempSync(join(tmpdir(), 'tollway-functions-'));
  project.provide('functionsFolder', folder);
  return () => rmSync(folder, { recursive: true, force: true });
}
