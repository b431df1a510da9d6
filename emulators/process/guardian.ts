/**
 * A process between us and the real servers, whose life hangs on the channel to its parent: it owns a folder and what
 * runs there, and when the channel closes, however its parent ended, it kills the one and removes the other. A Java
 * process has no such channel; kill -9 of a test run would leave it behind.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, mkdtempSync, openSync, rmSync } from 'node:fs';
import type { FromGuardian, ToGuardian } from './guarded-process.ts';

const [, , prefix = ''] = process.argv;
const folder = mkdtempSync(prefix);
const children = new Set<ChildProcess>();
let ending = false;

function tell(message: FromGuardian): void {
  if (process.connected) process.send?.(message);
}

function run({ id, command, args, env, log }: ToGuardian): void {
  const logFile = openSync(log, 'a');
  // A group of its own: a Ctrl-C in the terminal does not reach it, and a signal reaches all that it started.
  const child = spawn(command, args, {
    cwd: folder,
    env: { ...process.env, ...env },
    stdio: ['ignore', logFile, logFile],
    detached: true,
  });
  closeSync(logFile);
  children.add(child);
  child.once('spawn', () => tell({ is: 'running', id, pid: child.pid ?? 0 }));
  child.once('error', (error) => {
    children.delete(child);
    tell({ is: 'failed', id, message: error.message });
  });
  child.once('exit', (code) => {
    children.delete(child);
    tell({ is: 'ended', id, code });
  });
}

async function end(): Promise<void> {
  if (ending) return;
  ending = true;
  await Promise.all([...children].map(killGroup));
  rmSync(folder, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 });
  process.exit(0);
}

async function killGroup(child: ChildProcess): Promise<void> {
  const exited = once(child, 'exit');
  try {
    process.kill(-(child.pid ?? 0), 'SIGKILL');
  } catch {
    return; // It was faster.
  }
  await exited;
}

process.on('SIGINT', () => undefined);
process.on('SIGTERM', () => void end());
process.on('disconnect', () => void end());
process.on('message', (message) => {
  if (!ending) run(message as ToGuardian);
});
tell({ is: 'open', folder });
