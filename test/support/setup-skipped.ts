import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestProject } from 'vitest/node';

declare module 'vitest' {
  interface ProvidedContext {
    /** The file to which `isSkipped` appends its reasons, a line each. */
    skippedPath: string;
  }
}

/** Collects the reasons for skipped suites. The returned function prints each reason once at the end of the run. */
export default function setUp(project: TestProject): () => void {
  const folder = mkdtempSync(join(tmpdir(), 'tollway-skipped-'));
  const path = join(folder, 'reasons');
  writeFileSync(path, '');
  project.provide('skippedPath', path);
  return () => {
    const reasons = new Set(readFileSync(path, 'utf8').split('\n').filter(Boolean));
    for (const reason of reasons) process.stderr.write(`Skipped: ${reason}\n`);
    rmSync(folder, { recursive: true });
  };
}
