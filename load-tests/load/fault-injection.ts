import { exec } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { Stack } from '../../cli/start/stack.ts';
import { errorMessage, TollwayError } from '../../common/errors.ts';
import { sleep } from '../../common/process.ts';

/** Longest a command may take that restarts the broker, in ms. */
const RESTART_MS_MAX = 60_000;

/** What was done to a stack, or could not be, and when, in ms from the start of the load. */
export type Disturbance = { readonly atMs: number; readonly what: string; readonly isDone: boolean };

/** A fault injection that is ready: it begins with the load. */
export type FaultInjection = (stop: AbortSignal) => Promise<Disturbance[]>;

/**
 * Prepares to kill a processor without a word at one time and to restart the broker at another, in ms from the start. What cannot be
 * done then is noted. `restartBroker` is a shell command; without it the embedded PostgreSQL, the broker of `npm start`, is killed.
 * Throws `no_fault_injection` where the one or the other is not to be found.
 */
export function prepareFaultInjection(
  stack: Stack,
  {
    processorAtMs,
    brokerAtMs,
    restartBroker,
  }: { processorAtMs: number; brokerAtMs: number; restartBroker?: string },
): FaultInjection {
  const supervisor = stack.pid;
  if (supervisor === undefined)
    throw new TollwayError(
      'no_fault_injection',
      'Expected the stack of npm start on this machine: fault injection kills its processor',
    );
  const postmaster = join(stack.dataDir, 'postgres', 'postmaster.pid');
  if (restartBroker === undefined && (stack.broker !== 'postgres' || !existsSync(postmaster))) {
    const broker = stack.broker === 'postgres' ? 'the PostgreSQL at DATABASE_URL' : stack.broker;
    const message = `--restart-broker: expected the command that restarts ${broker}, got nothing`;
    throw new TollwayError('no_fault_injection', message);
  }
  const killProcessor = () => {
    process.kill(processorOf(supervisor), 'SIGKILL');
  };
  const restart = async () => {
    if (restartBroker !== undefined) await promisify(exec)(restartBroker, { timeout: RESTART_MS_MAX });
    // Its first line is the process id: https://www.postgresql.org/docs/18/storage-file-layout.html
    else process.kill(Number(readFileSync(postmaster, 'utf8').split('\n')[0]), 'SIGKILL');
  };
  const steps = [
    {
      at: processorAtMs,
      act: killProcessor,
      done: 'a processor was killed',
      failed: 'no processor could be killed',
    },
    {
      at: brokerAtMs,
      act: restart,
      done: 'the broker was restarted',
      failed: 'the broker could not be restarted',
    },
  ];
  return async (stop) => {
    const startedAt = performance.now();
    const disturbances: Disturbance[] = [];
    for (const { at, act, done, failed } of steps) {
      await sleep(Math.max(0, at - (performance.now() - startedAt)), stop);
      if (stop.aborted) break;
      try {
        await act();
        disturbances.push({ atMs: performance.now() - startedAt, what: done, isDone: true });
      } catch (error) {
        const what = `${failed}: ${errorMessage(error)}`;
        disturbances.push({ atMs: performance.now() - startedAt, what, isDone: false });
      }
    }
    return disturbances;
  };
}

/** The processor among the children of the supervisor. */
function processorOf(supervisor: number): number {
  const children = readFileSync(`/proc/${supervisor}/task/${supervisor}/children`, 'utf8').trim().split(' ');
  const found = children.find((pid) => commandOf(pid).includes('processor/main.ts'));
  if (found === undefined) throw new Error('none is running');
  return Number(found);
}

function commandOf(pid: string): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8');
  } catch {
    // It has ended since.
    return '';
  }
}
