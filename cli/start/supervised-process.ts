import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { delimiter, join } from 'node:path';
import { text } from 'node:stream/consumers';
import { errorMessage, TollwayError } from '../../common/errors.ts';
import { get } from '../../common/node-http.ts';
import { sleep } from '../../common/process.ts';
import type { Logger } from '../../common/telemetry/logger.ts';
import { keepSessionsLow, lowerPriority } from './lower-priority.ts';
import { nodeFlagsOf } from './node-flags.ts';
import { PRELOADED } from './preload-setting.ts';

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
const ROOT = join(import.meta.dirname, '..', '..');
const PRELOAD = ['--import', join(import.meta.dirname, 'preload-part.ts')];

/** A part of the stack as a process, restarted when it dies. */
export type SupervisedProcess = {
  /** Runs the part, whose modules are loaded meanwhile, with these settings. */
  readonly run: (env: NodeJS.ProcessEnv) => void;
  /** Resolves when the part answers `/readyz` for the first time. Throws `not_ready`. */
  readonly ready: () => Promise<void>;
  /** Lets the part drain, and kills it after `ms`. */
  readonly stop: (ms: number) => Promise<void>;
};

/** The entry file of a part, and the modules that it can load before it has its settings. Paths from the root of the repository. */
export type PartFiles = { readonly script: string; readonly preloaded: readonly string[] };

/**
 * Starts the process of a part, which loads its modules and waits for `run`. It has its own process group, so that a Ctrl-C in the terminal does
 * not reach it before it is told to drain. A channel to this process closes when this process ends, and the part then ends too.
 */
export function startProcess(
  name: string,
  { script, preloaded }: PartFiles,
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
  /** `null` until the first spawn, which may throw. */
  let child: ChildProcess | null = null;
  let stopping = false;
  let everReady = false;
  let restartMs = RESTART_MS;
  let settings: NodeJS.ProcessEnv = {};

  const launch = (flags: readonly string[], env: NodeJS.ProcessEnv) => {
    const launchedAt = performance.now();
    const restart = async () => {
      restartMs =
        performance.now() - launchedAt > LIVED_LONG_MS ? RESTART_MS : Math.min(restartMs * 2, RESTART_MS_MAX);
      await sleep(restartMs / 2);
      if (!stopping) launch([], settings);
    };
    const onEnd = (end: End) => {
      if (stopping) return;
      if (!everReady) return deps.onStartFailure(startFailure(name, end));
      const { is, ...fields } = end;
      if (is === 'exit')
        deps.logger.error(fields, `The ${name} died and is started again. ${deps.whileAway}`);
      else
        deps.logger.error(fields, `The ${name} could not be started and is tried again. ${deps.whileAway}`);
      void restart();
    };
    const spawned = spawnPart([...nodeFlagsOf(script), ...flags, join(ROOT, script)], env, onEnd);
    if (spawned === null) return;
    child = spawned;
    if (!deps.hasLowPriority) return;
    lowerPriority(spawned.pid, deps.logger);
    keepSessionsLow(spawned.pid, deps.logger);
  };
  const files = preloaded.map((path) => join(ROOT, path)).join(delimiter);
  launch(PRELOAD, { ...process.env, [PRELOADED]: files });

  return {
    run: (env) => {
      settings = env;
      // An error, or no connection, means that the process has ended or was not started, which is handled above.
      if (child?.connected) child.send(env, () => {});
    },
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

/** How a process ended: it exited, or it could not be started. */
type End =
  | { readonly is: 'exit'; readonly code: number | null; readonly signal: string | null }
  | { readonly is: 'failure'; readonly err: unknown };

function startFailure(name: string, end: End): TollwayError {
  const cause =
    end.is === 'exit' ? `${end.signal ?? `exit code ${end.code}`}; its log says why` : errorMessage(end.err);
  return new TollwayError('part_failed', `Expected the ${name} to start, got ${cause}`);
}

/** Spawns the process of a part. Returns `null` if that throws, which Node does for some causes; others it emits. */
function spawnPart(
  args: readonly string[],
  env: NodeJS.ProcessEnv,
  onEnd: (end: End) => void,
): ChildProcess | null {
  try {
    const child = spawn(process.execPath, args, {
      env,
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
      detached: true,
    });
    child.once('exit', (code, signal) => onEnd({ is: 'exit', code, signal }));
    // Other errors, such as of a signal that could not be sent, do not end the process.
    child.on('error', (err) => child.pid === undefined && onEnd({ is: 'failure', err }));
    return child;
  } catch (err) {
    onEnd({ is: 'failure', err });
    return null;
  }
}

/** Polls `/readyz` until it responds with success. Throws `not_ready` after `msMax`. */
export async function untilReady(name: string, opsUrl: string, msMax: number): Promise<void> {
  const deadline = performance.now() + msMax;
  let answer = 'no answer';
  while (performance.now() < deadline) {
    const response = await read(`${opsUrl}/readyz`, deadline - performance.now()).catch(() => null);
    if (response?.status === 200) return;
    if (response) answer = response.body;
    await sleep(50);
  }
  throw new TollwayError(
    'not_ready',
    `Expected the ${name} to be ready within ${msMax / 1_000} s, got: ${answer}`,
  );
}

/** The answer to a GET request. Not by `fetch`, whose first call takes 60 ms of CPU time. Throws if there is none within `msMax`. */
function read(url: string, msMax: number): Promise<{ status: number | undefined; body: string }> {
  return new Promise((resolve, reject) => {
    const request = get(
      url,
      { agent: false, signal: AbortSignal.timeout(Math.ceil(Math.max(1, msMax))) },
      (response) => {
        text(response).then((body) => resolve({ status: response.statusCode, body }), reject);
      },
    );
    request.once('error', reject);
  });
}

/** Lets a process drain, and kills it after `ms`. */
async function stopProcess(child: ChildProcess | null, ms: number): Promise<void> {
  if (child?.pid === undefined) return;
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exited = once(child, 'exit');
  child.kill('SIGTERM');
  const ended = await Promise.race([exited.then(() => true), sleep(ms).then(() => false)]);
  // Clicks that were not drained are in the spool or the broker: none is lost.
  if (!ended) child.kill('SIGKILL');
  await exited;
}
