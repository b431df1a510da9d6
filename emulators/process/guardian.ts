/**
 * A process that owns a temporary folder and the servers that run in it. When the IPC channel to its parent closes, for any reason, it kills the
 * servers and removes the folder. Without it, SIGKILL of a test run would leave servers such as Kafka running, which have no such channel.
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
  // In its own process group, so that a Ctrl-C in the terminal does not reach it, and a signal reaches all processes that it started.
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
    return; // The process has ended already.
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
