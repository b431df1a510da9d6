import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, onTestFinished } from 'vitest';

/** Creates a folder for one test; it is removed when the test has ended. */
export function temporaryFolder(): string {
  const folder = makeFolder();
  onTestFinished(() => removeFolder(folder));
  return folder;
}

/** Creates a folder for the suite that calls it, at the top of its file or of a `describe`; it is removed after the last test. */
export function suiteFolder(): string {
  const folder = makeFolder();
  afterAll(() => removeFolder(folder));
  return folder;
}

/** Creates a folder that the caller removes. Every user can enter it, because PostgreSQL does not run as root. */
export function makeFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'tollway-test-'));
  chmodSync(folder, 0o755);
  return folder;
}

/** Removes a folder, even while a process that is ending still writes there. */
export function removeFolder(folder: string): void {
  rmSync(folder, { recursive: true, force: true, maxRetries: 5, retryDelay: 200 });
}
