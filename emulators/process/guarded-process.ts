import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { globSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';

/** Length of the end of a log that errors quote. */
const LOG_TAIL_CHARS = 2_000;
const POLL_MS = 50;

/** A temporary folder and processes in it, which end with this process: see guardian.ts. */
export type Guard = {
  /** Removed with its content by `end`, and when this process ends, even by SIGKILL. */
  readonly folder: string;
  /** Runs a command with the folder as its working directory. Throws if it cannot be started. */
  readonly run: (
    command: string,
    args: readonly string[],
    env?: Readonly<Record<string, string>>,
  ) => Promise<GuardedProcess>;
  /** Kills the processes and removes the folder. Can be called more than once. */
  readonly end: () => Promise<void>;
};

export type GuardedProcess = {
  /** Resolves to its exit code; `null` after a signal. */
  readonly ended: Promise<number | null>;
  readonly hasEnded: () => boolean;
  /** Signals it and all processes that it started. Does nothing if it has ended. */
  readonly signal: (signal: NodeJS.Signals) => void;
  /** Stops it by SIGSTOP until it gets SIGCONT. Resolves when none of its threads runs any more. */
  readonly suspend: () => Promise<void>;
  /** The end of its output, standard output and standard error together. */
  readonly logTail: () => string;
};

export type ToGuardian = {
  readonly id: number;
  readonly command: string;
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly log: string;
};

export type FromGuardian =
  | { readonly is: 'open'; readonly folder: string }
  | { readonly is: 'running'; readonly id: number; readonly pid: number }
  | { readonly is: 'failed'; readonly id: number; readonly message: string }
  | { readonly is: 'ended'; readonly id: number; readonly code: number | null };

/** Creates a folder whose path begins with `prefix`, and starts its guardian process. */
export async function openGuard(prefix: string): Promise<Guard> {
  const guardian = fork(join(import.meta.dirname, 'guardian.ts'), [prefix], {
    // Without the options of this process, because a test runner adds loaders that the guardian does not need.
    execArgv: [],
    serialization: 'json',
    // In its own process group, so that a Ctrl-C in the terminal reaches only this process, which then ends the guardian.
    detached: true,
    stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
  });
  // Each process adds listeners.
  guardian.setMaxListeners(0);
  const exited = once(guardian, 'exit');
  const { folder } = await answer(guardian, (message) => (message.is === 'open' ? message : undefined));
  let runs = 0;
  return {
    folder,
    run: (command, args, env = {}) => {
      runs += 1;
      const log = join(folder, `${runs}-${basename(command)}.log`);
      return run(guardian, { id: runs, command, args, env, log });
    },
    end: async () => {
      if (guardian.connected) guardian.disconnect();
      await exited;
    },
  };
}

async function run(guardian: ChildProcess, command: ToGuardian): Promise<GuardedProcess> {
  const ended = answer(guardian, (message) =>
    message.is === 'ended' && message.id === command.id ? message : undefined,
  ).then(
    ({ code }) => code,
    // The guardian has ended, and with it the process.
    () => null,
  );
  let hasEnded = false;
  void ended.then(() => {
    hasEnded = true;
  });
  const started = answer(guardian, (message) =>
    (message.is === 'running' || message.is === 'failed') && message.id === command.id ? message : undefined,
  );
  guardian.send(command);
  const result = await started;
  if (result.is === 'failed') throw new Error(`${command.command} did not start: ${result.message}`);
  const signal = (name: NodeJS.Signals) => {
    if (!hasEnded) signalGroup(result.pid, name);
  };
  return {
    ended,
    hasEnded: () => hasEnded,
    signal,
    suspend: async () => {
      signal('SIGSTOP');
      while (!hasEnded && isRunning(result.pid)) await new Promise((resolve) => setTimeout(resolve, 1));
    },
    logTail: () => readFileSync(command.log, 'utf8').trimEnd().slice(-LOG_TAIL_CHARS),
  };
}

function signalGroup(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(-pid, signal);
  } catch (error) {
    // The process has ended, but the message of the guardian has not arrived yet.
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}

/**
 * Whether any thread of a process is not stopped. On a busy machine that takes a while after SIGSTOP, because a thread has to handle the signal.
 * False where there is no `/proc`.
 */
function isRunning(pid: number): boolean {
  const states = globSync(`/proc/${pid}/task/*/stat`).map((path) => {
    try {
      return /\) (\S) [^)]*$/.exec(readFileSync(path, 'utf8'))?.[1];
    } catch {
      return undefined; // The thread has ended.
    }
  });
  return states.some((state) => state !== undefined && state !== 'T' && state !== 'Z');
}

/** Resolves to the first result of `pick` that is not `undefined`, for the next messages of the guardian. Rejects if the guardian ends. */
function answer<T>(guardian: ChildProcess, pick: (message: FromGuardian) => T | undefined): Promise<T> {
  return new Promise((resolve, reject) => {
    const onMessage = (message: unknown) => {
      const picked = pick(message as FromGuardian);
      if (picked === undefined) return;
      leave();
      resolve(picked);
    };
    const onExit = (code: number | null) => {
      leave();
      reject(new Error(`The guardian process ended unexpectedly with exit code ${code}`));
    };
    const leave = () => guardian.off('message', onMessage).off('exit', onExit);
    guardian.on('message', onMessage).on('exit', onExit);
  });
}

/** Runs a command to its end. Throws an error with the end of its log if it fails. */
export async function runToEnd(guard: Guard, command: string, args: readonly string[]): Promise<void> {
  const child = await guard.run(command, args);
  const code = await child.ended;
  if (code !== 0) throw new Error(`${command} ended with exit code ${code}: ${child.logTail()}`);
}

/**
 * Calls `answers` until it no longer throws. Throws if `earlyEnd` returns the end of the log of a server that has ended, and after `maxMs`.
 */
export async function untilAnswers(
  what: string,
  answers: () => Promise<unknown>,
  earlyEnd: () => Promise<string | null>,
  maxMs = 60_000,
): Promise<void> {
  const deadline = performance.now() + maxMs;
  for (;;) {
    try {
      await answers();
      return;
    } catch (error) {
      const log = await earlyEnd();
      if (log !== null) throw new Error(`${what} ended before it answered: ${log}`);
      if (performance.now() > deadline)
        throw new Error(`${what} did not answer in ${maxMs} ms`, { cause: error });
      await new Promise((resolve) => setTimeout(resolve, POLL_MS));
    }
  }
}
