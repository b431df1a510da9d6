import { exec } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { Stack } from '../../cli/start/stack.ts';
import { errorMessage, TollwayError } from '../../common/errors.ts';
import { sleep } from '../../common/process.ts';
import { findPart } from './find-part.ts';

/** Timeout of the command that restarts the broker, in ms. */
const RESTART_MS_MAX = 60_000;

/** A fault that was injected, or that failed to be. `atMs` counts from the start of the load. */
export type InjectedFault = {
  readonly atMs: number;
  readonly description: string;
  readonly succeeded: boolean;
};

/** A prepared fault injection. Call it when the load starts; it resolves when all faults are injected or `stop` is aborted. */
export type FaultInjection = (stop: AbortSignal) => Promise<InjectedFault[]>;

/**
 * Prepares to kill a processor (SIGKILL) and to restart the broker, each at a time in ms from the start of the load. A fault that fails
 * is reported as such. `restartBroker` is a shell command; without it the embedded PostgreSQL, the broker of `npm start`, is killed and
 * its supervisor restarts it. Throws `no_fault_injection` if the stack has no supervisor on this machine, or no known way to restart its
 * broker.
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
      'Expected the stack of npm start on this machine, because fault injection kills its processor',
    );
  const postmaster = join(stack.dataDir, 'postgres', 'postmaster.pid');
  if (restartBroker === undefined && (stack.broker !== 'postgres' || !existsSync(postmaster))) {
    const broker = stack.broker === 'postgres' ? 'the PostgreSQL at DATABASE_URL' : stack.broker;
    const message = `--restart-broker: expected the command that restarts ${broker}, got nothing`;
    throw new TollwayError('no_fault_injection', message);
  }
  return createFaultInjection([
    {
      atMs: processorAtMs,
      inject: () => void process.kill(findPart(supervisor, 'processor'), 'SIGKILL'),
      onSuccess: 'a processor was killed',
      onFailure: 'no processor could be killed',
    },
    {
      atMs: brokerAtMs,
      inject: async () => {
        if (restartBroker !== undefined) await promisify(exec)(restartBroker, { timeout: RESTART_MS_MAX });
        // The first line of postmaster.pid is the process id: https://www.postgresql.org/docs/18/storage-file-layout.html
        else process.kill(Number(readFileSync(postmaster, 'utf8').split('\n')[0]), 'SIGKILL');
      },
      onSuccess: 'the broker was restarted',
      onFailure: 'the broker could not be restarted',
    },
  ]);
}

type PlannedFault = {
  readonly atMs: number;
  readonly inject: () => Promise<void> | void;
  /** Descriptions of the two outcomes. */
  readonly onSuccess: string;
  readonly onFailure: string;
};

function createFaultInjection(planned: readonly PlannedFault[]): FaultInjection {
  return async (stop) => {
    const startedAt = performance.now();
    const faults: InjectedFault[] = [];
    const report = (description: string, succeeded: boolean) =>
      faults.push({ atMs: performance.now() - startedAt, description, succeeded });
    for (const { atMs, inject, onSuccess, onFailure } of planned) {
      await sleep(Math.max(0, atMs - (performance.now() - startedAt)), stop);
      if (stop.aborted) break;
      try {
        await inject();
        report(onSuccess, true);
      } catch (error) {
        report(`${onFailure}: ${errorMessage(error)}`, false);
      }
    }
    return faults;
  };
}
