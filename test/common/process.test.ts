import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';

const PROCESS = join(import.meta.dirname, '..', '..', 'common', 'process.ts');

/** Runs a process whose start function has the body `body`. Returns its output and its exit code. */
function run(body: string): { stdout: string; stderr: string; status: number | null } {
  const script = `import { runProcess } from '${PROCESS}'; import * as fs from 'node:fs'; import * as net from 'node:net';
    await runProcess(async (onShutdown) => { ${body} }, 'component');`;
  return spawnSync(process.execPath, ['--input-type=module', '-e', script], { encoding: 'utf8' });
}

/** What a process that fails to start writes to standard error. */
function stderrOf(body: string): string {
  const { stderr, status } = run(body);
  expect(status).toBe(1);
  return stderr;
}

describe('a process that fails to start', () => {
  it('reports a refused system call in one line', () => {
    expect(stderrOf(`fs.mkdirSync('/dev/null/data')`)).toMatch(/^component: ENOTDIR: [^\n]*\n$/);
  });

  it('reports too many open files in one line, even from a callback', () => {
    const code = `setTimeout(() => { throw Object.assign(new Error('EMFILE: too many open files, scandir'),
      { code: 'EMFILE', syscall: 'scandir' }) }); await new Promise(() => setInterval(() => {}, 1_000))`;
    expect(stderrOf(code)).toBe('component: EMFILE: too many open files, scandir\n');
  });

  it('reports a refused connection in one line', () => {
    const connect = `await new Promise((done, failed) => net.connect(1, '127.0.0.1').on('error', failed))`;
    expect(stderrOf(connect)).toBe('component: connect ECONNREFUSED 127.0.0.1:1\n');
  });

  it('writes the stack of a bug', () => {
    expect(stderrOf('undefined.field')).toMatch(/^component: Failed\nTypeError: [^\n]*\n +at /);
  });
});

describe('a process that shuts down', () => {
  const resource = (name: string, body = '') => `onShutdown({ name: '${name}', close: async () => {
    fs.writeSync(1, '${name} closed\\n'); ${body} } });`;

  it('closes its resources in reverse order, also after one that does not close cleanly', () => {
    const body = `${resource('pool')} ${resource('server', "throw new Error('busy')")} process.kill(process.pid, 'SIGTERM');
      await new Promise(() => setInterval(() => {}, 1_000));`;
    const { stdout, stderr, status } = run(body);
    expect(stdout).toBe('server closed\npool closed\n');
    expect(stderr).toMatch(/^component: server did not close cleanly\nError: busy\n/);
    expect(status).toBe(0);
  });

  it('closes a resource that is registered while the others are closed', () => {
    const body = `${resource('pool')} ${resource('server', resource('late'))} process.kill(process.pid, 'SIGTERM');
      await new Promise(() => setInterval(() => {}, 1_000));`;
    expect(run(body)).toMatchObject({ stdout: 'server closed\nlate closed\npool closed\n', status: 0 });
  });
});
