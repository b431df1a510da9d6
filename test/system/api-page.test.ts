import { spawnSync } from 'node:child_process';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ERROR_CODES } from '../../common/error-codes.ts';
import { statusOf } from '../../console/api/problem.ts';
import { abridged, commandBlocksOf, comparableLines } from '../support/doc-blocks.ts';
import { ROOT } from '../support/imports.ts';
import { cellsOf, readPage, rowsOf } from '../support/markdown.ts';
import { isSkipped } from '../support/skipped.ts';
import { stackEnv, startStack, type TestStack } from '../support/stack.ts';
import { suiteFolder } from '../support/temporary-folder.ts';

const PAGE = 'docs/api.md';
const MARK = '--- the next block ---';
const curl = spawnSync('curl', ['--version'], { encoding: 'utf8' });
const noCurl = curl.error ? 'commands of the pages: install curl' : null;

describe.skipIf(isSkipped(noCurl))('the commands of docs/api.md', () => {
  const folder = suiteFolder();
  let stack: TestStack;
  beforeAll(async () => {
    stack = await startStack(await stackEnv(folder));
  });
  afterAll(async () => {
    await stack.stop();
  });

  it('work in their order, and print what the page shows', { timeout: 60_000 }, () => {
    const blocks = commandBlocksOf(PAGE);
    expect(blocks.length).toBeGreaterThan(5);
    const script = blocks.map(({ commands }) => commands).join(`\necho\necho '${MARK}'\n`);
    const { stdout, stderr, status } = spawnSync(
      'bash',
      ['-e', '-o', 'pipefail', '-c', script.replace('http://127.0.0.1:8083', stack.consoleUrl)],
      { cwd: ROOT, env: stack.env, encoding: 'utf8' },
    );
    expect(status, stderr).toBe(0);
    for (const [index, output] of stdout.split(`${MARK}\n`).entries()) {
      const shown = comparableLines(blocks[index]?.output ?? '', 'exact');
      expect(abridged(comparableLines(output.trimEnd(), 'exact'), shown)).toEqual(shown);
    }
  });
});

describe('docs/api.md', () => {
  it('has the status of each code that it names', () => {
    const rows = rowsOf(readPage(PAGE), 'status').map(cellsOf);
    expect(rows.length).toBeGreaterThan(10);
    for (const [status, cell = ''] of rows)
      for (const [, code = ''] of cell.matchAll(/`([a-z_]+)`/g)) {
        const found = ERROR_CODES.find((one) => one === code);
        expect(found && statusOf(found), code).toBe(Number(status));
      }
  });

  it('has every status that a code has', () => {
    const statuses = rowsOf(readPage(PAGE), 'status').map((row) => Number(cellsOf(row)[0]));
    for (const code of ERROR_CODES) expect(statuses, code).toContain(statusOf(code));
  });
});
