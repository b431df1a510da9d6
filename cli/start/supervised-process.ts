import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { TollwayError } from '../../common/errors.ts';
import { sleep } from '../../common/process.ts';
import type { Logger } from '../../common/telemetry/logger.ts';
import { lowerPriority } from './lower-priority.ts';

/**
 * Backoff before a part that died is restarted, in ms. It is doubled, up to the maximum, after each run that was shorter than
 * `LIVED_LONG_MS`; the wait is half of it: 0.5 s after the first short run, at most 7.5 s, and 0.25 s after a long run.
 */
const RESTART_MS = 500;
const RESTART_MS_MAX = 15_000;
const LIVED_LONG_MS = 30_000;
/** Longest wait until a part is ready, in ms, and more for each further worker, since workers share the cores. */
const READY_MS_MAX = 30_000;
const WORKER_READY_MS = 1_500;
/** Limits V8's young generation to 16 MB. Without the flag it takes more memory than everything else. */
const NODE_FLAGS = [
  '--max-semi-space-size=16',
  // kafkajs sets timers into the past, which Node warns of once: tulios/kafkajs#1751.
  '--disable-warning=TimeoutNegativeWarning',
];

/** A part of the stack as a process, restarted when it dies. */
export type SupervisedProcess = {
  /** Resolves when the part answers `/readyz` for the first time. Throws `not_ready`. */
  readonly ready: () => Promise<void>;
  /** Lets the part drain, and kills it after `ms`. */
  readonly stop: (ms: number) => Promise<void>;
};

/**
 * Starts a part in its own process group, so that a Ctrl-C in the terminal does not reach it before it is told to drain. A channel to this
 * process closes when this process ends, and the part then ends too.
 */
export function startProcess(
  name: string,
  script: string,
  env: NodeJS.ProcessEnv,
  opsUrl: string,
  deps: {
    logger: Logger;
    onStartFailure: (error: Error) => void;
    /** The effect on clicks while the part does not run, for the log. */
    whileAway: string;
    hasLowPriority: boolean;
    workers?: number;
  },
): SupervisedProcess {
  let child: ChildProcess;
  let stopping = false;
  let everReady = false;
  let restartMs = RESTART_MS;

  const launch = () => {
    const launchedAt = performance.now();
    child = spawn(process.execPath, [...NODE_FLAGS, join(import.meta.dirname, '..', '..', script)], {
      env,
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
      detached: true,
    });
    if (deps.hasLowPriority) lowerPriority(child.pid, deps.logger);
    child.once('exit', async (code, signal) => {
      if (stopping) return;
      if (!everReady) {
        return deps.onStartFailure(
          new TollwayError(
            'part_failed',
            `Expected the ${name} to start, got ${signal ?? `exit code ${code}`}; its log says why`,
          ),
        );
      }
      deps.logger.error({ code, signal }, `The ${name} died and is started again. ${deps.whileAway}`);
      restartMs =
        performance.now() - launchedAt > LIVED_LONG_MS ? RESTART_MS : Math.min(restartMs * 2, RESTART_MS_MAX);
      await sleep(restartMs / 2);
      if (!stopping) launch();
    });
  };
  launch();

  return {
    ready: async () => {
      await untilReady(name, opsUrl, READY_MS_MAX + ((deps.workers ?? 1) - 1) * WORKER_READY_MS);
      everReady = true;
    },
    stop: (ms) => {
      stopping = true;
      return stopProcess(child, ms);
    },
  };
}

/** Polls `/readyz` until it responds with success. Throws `not_ready` after `msMax`. */
async function untilReady(name: string, opsUrl: string, msMax: number): Promise<void> {
  const deadline = performance.now() + msMax;
  let answer = 'no answer';
  while (performance.now() < deadline) {
    const response = await fetch(`${opsUrl}/readyz`).catch(() => null);
    if (response?.ok) return;
    if (response) answer = await response.text();
    await sleep(50);
  }
  throw new TollwayError(
    'not_ready',
    `Expected the ${name} to be ready within ${msMax / 1_000} s, got: ${answer}`,
  );
}

/** Lets a process drain, and kills it after `ms`. */
async function stopProcess(child: ChildProcess, ms: number): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exited = once(child, 'exit');
  child.kill('SIGTERM');
  const ended = await Promise.race([exited.then(() => true), sleep(ms).then(() => false)]);
  // Clicks that were not drained are in the spool or the broker: none is lost.
  if (!ended) child.kill('SIGKILL');
  await exited;
}
