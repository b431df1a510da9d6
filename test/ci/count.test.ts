import { execFile } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterEach, beforeEach, expect, it } from 'vitest';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'tollway-count-'));
});
afterEach(() => rm(folder, { recursive: true }));

/** Tests of a file by their names: what they ended as, or the message of a failure. */
type Ends = Record<string, 'passed' | 'skipped' | Error>;

/** Writes a report of files, and returns its path. */
async function write(name: string, files: Record<string, Ends>): Promise<string> {
  const testResults = Object.entries(files).map(([file, tests]) => {
    const assertionResults = Object.entries(tests).map(([fullName, end]) => ({
      fullName,
      status: end instanceof Error ? 'failed' : end,
      failureMessages: end instanceof Error ? [end.message] : [],
    }));
    const isFailed = assertionResults.some(({ status }) => status === 'failed');
    return { name: file, message: '', status: isFailed ? 'failed' : 'passed', assertionResults };
  });
  const path = join(folder, `${name}.json`);
  await writeFile(path, JSON.stringify({ testResults }));
  return path;
}

const count = async (...args: string[]) =>
  (await promisify(execFile)(process.execPath, ['.ci/count.ts', ...args])).stdout;
const late = new Error('expected 2 to be 1');

it('counts a test that passes when repeated as flaky, and one that fails again as failed', async () => {
  const files = { '/a.test.ts': { one: 'passed', two: late, three: late, four: 'skipped' } } as const;
  const first = await write('bare', files);
  const again = await write('bare-again', { '/a.test.ts': { one: 'passed', two: 'passed', three: late } });
  const rest = await write('rest', { '/a.test.ts': { four: 'passed' } });
  const lines = (await count(first, again, rest, join(folder, 'rest-again.json'))).trim().split('\n');
  expect(lines.at(-1)).toBe('2 passed, 1 failed, 1 flaky, 0 skipped');
  expect(lines.at(-2)).toContain('a.test.ts two: failed, and passed when repeated');
});

it('repeats the files with failures', async () => {
  const report = await write('bare', { '/a.test.ts': { one: late }, '/b.test.ts': { one: 'passed' } });
  expect(await count('--repeatable-files', report)).toBe('/a.test.ts\n');
});

it.each([
  ['failures in more than three files', ['a', 'b', 'c', 'd'].map((name) => [`/${name}`, { one: late }])],
  ['a failure about the books', [['/a', { one: new Error('expected { balanced: false } to match') }]]],
])('repeats nothing after %s', async (_, files) => {
  expect(await count('--repeatable-files', await write('bare', Object.fromEntries(files)))).toBe('');
});
