import { exec } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { Stack } from '../cli/stack.ts';
import { errorMessage, TollwayError } from '../common/errors.ts';
import { sleep } from '../common/lifecycle.ts';

/** Longest a command may take that restarts the broker, in ms. */
const RESTART_MS_MAX = 60_000;

/** What was done to a stack, and when, in ms from the start of the load. */
export type Disturbance = { readonly atMs: number; readonly what: string };

/**
 * Kills a processor without a word at one time and restarts the broker at another, in ms from now. Answers what was
 * done. `restartBroker` is a shell command; without it the embedded PostgreSQL, the broker of `npm start`, is killed.
 * Throws `no_storm` before anything is done where the one or the other is not to be found.
 */
export async function raiseStorm(
  stack: Stack,
  {
    processorAtMs,
    brokerAtMs,
    restartBroker,
  }: { processorAtMs: number; brokerAtMs: number; restartBroker?: string },
  stop: AbortSignal,
): Promise<Disturbance[]> {
  const supervisor = stack.pid;
  if (supervisor === undefined)
    throw new TollwayError(
      'no_storm',
      'Expected the stack of npm start on this machine: a storm kills its processor',
    );
  const postmaster = join(stack.dataDir, 'postgres', 'postmaster.pid');
  if (restartBroker === undefined && stack.broker !== 'postgres') {
    const message = `--restart-broker: expected the command that restarts ${stack.broker}, got nothing`;
    throw new TollwayError('no_storm', message);
  }
  const startedAt = performance.now();
  const done: Disturbance[] = [];
  const note = (what: string) => done.push({ atMs: performance.now() - startedAt, what });
  const until = (atMs: number) => sleep(Math.max(0, atMs - (performance.now() - startedAt)), stop);

  await until(processorAtMs);
  if (!stop.aborted) {
    const pid = processorOf(supervisor);
    if (pid !== null) process.kill(pid, 'SIGKILL');
    note(pid === null ? 'no processor was found to be killed' : 'a processor was killed');
  }
  await until(brokerAtMs);
  if (!stop.aborted) {
    try {
      if (restartBroker !== undefined) await promisify(exec)(restartBroker, { timeout: RESTART_MS_MAX });
      // Its first line is the process id: https://www.postgresql.org/docs/18/storage-file-layout.html
      else process.kill(Number(readFileSync(postmaster, 'utf8').split('\n')[0]), 'SIGKILL');
      note('the broker was restarted');
    } catch (error) {
      note(`the broker could not be restarted: ${errorMessage(error)}`);
    }
  }
  return done;
}

/** The processor among the children of the supervisor. */
function processorOf(supervisor: number): number | null {
  const children = readFileSync(`/proc/${supervisor}/task/${supervisor}/children`, 'utf8').trim().split(' ');
  const found = children.find((pid) =>
    readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes('processor/main.ts'),
  );
  return found === undefined ? null : Number(found);
}
