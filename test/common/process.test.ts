import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';

const PROCESS = join(import.meta.dirname, '..', '..', 'common', 'process.ts');

/** Runs a process whose start does `work`, and returns what it says on standard error. */
function stderrOf(work: string): string {
  const script = `import { runProcess } from '${PROCESS}'; import * as fs from 'node:fs'; import * as net from 'node:net';
    await runProcess(async () => { ${work} }, 'part');`;
  const { stderr, status } = spawnSync(process.execPath, ['--input-type=module', '-e', script], {
    encoding: 'utf8',
  });
  expect(status).toBe(1);
  return stderr;
}

describe('a part that does not start', () => {
  it('says in one line what the system refused', () => {
    expect(stderrOf(`fs.mkdirSync('/dev/null/data')`)).toMatch(/^part: ENOTDIR: [^\n]*\n$/);
  });

  it('says in one line that too many files are open, wherever that comes up', () => {
    const code = `setTimeout(() => { throw Object.assign(new Error('EMFILE: too many open files, scandir'),
      { code: 'EMFILE', syscall: 'scandir' }) }); await new Promise(() => setInterval(() => {}, 1_000))`;
    expect(stderrOf(code)).toBe('part: EMFILE: too many open files, scandir\n');
  });

  it('says in one line that nothing listens at an address', () => {
    const connect = `await new Promise((done, failed) => net.connect(1, '127.0.0.1').on('error', failed))`;
    expect(stderrOf(connect)).toBe('part: connect ECONNREFUSED 127.0.0.1:1\n');
  });

  it('shows the stack of a fault in the code', () => {
    expect(stderrOf('undefined.field')).toMatch(/^part: Failed\nTypeError: [^\n]*\n +at /);
  });
});
