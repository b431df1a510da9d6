import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { basename, join } from 'node:path';

/** How much of a log an error quotes. */
const LOG_TAIL_CHARS = 2_000;
const POLL_MS = 50;

/** A folder, and processes in it, that do not outlive this process: see guardian.ts. */
export type Guard = {
  /** Removed, with all in it, by `end` and when this process ends in any other way. */
  readonly folder: string;
  /** Runs a command with the folder as its working directory. Throws if it cannot be started. */
  readonly run: (
    command: string,
    args: readonly string[],
    env?: Readonly<Record<string, string>>,
  ) => Promise<GuardedProcess>;
  /** Kills what runs, removes the folder; more than once is fine. */
  readonly end: () => Promise<void>;
};

export type GuardedProcess = {
  /** Resolves to its exit code; null after a signal. */
  readonly ended: Promise<number | null>;
  readonly hasEnded: () => boolean;
  /** Signals it and all that it started; nothing if it has ended. */
  readonly signal: (signal: NodeJS.Signals) => void;
  /** The end of what it has printed, on both channels. */
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

/** Makes a folder whose path begins with `prefix`, and the process that guards it. */
export async function openGuard(prefix: string): Promise<Guard> {
  const guardian = fork(join(import.meta.dirname, 'guardian.ts'), [prefix], {
    // Not the options of this process: its runner may bring loaders that the guardian has no use for.
    execArgv: [],
    serialization: 'json',
    // Nor its group: a Ctrl-C in the terminal is for this process, which then ends the guardian.
    detached: true,
    stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
  });
  // As many listeners as there are processes that run or have run.
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

async function run(guardian: ChildProcess, order: ToGuardian): Promise<GuardedProcess> {
  const ended = answer(guardian, (message) =>
    message.is === 'ended' && message.id === order.id ? message : undefined,
  ).then(
    ({ code }) => code,
    // Without its guardian it is gone.
    () => null,
  );
  let isOver = false;
  void ended.then(() => {
    isOver = true;
  });
  const started = answer(guardian, (message) =>
    (message.is === 'running' || message.is === 'failed') && message.id === order.id ? message : undefined,
  );
  guardian.send(order);
  const result = await started;
  if (result.is === 'failed') throw new Error(`${order.command} does not start: ${result.message}`);
  return {
    ended,
    hasEnded: () => isOver,
    signal: (signal) => {
      if (!isOver) signalGroup(result.pid, signal);
    },
    logTail: () => readFileSync(order.log, 'utf8').trimEnd().slice(-LOG_TAIL_CHARS),
  };
}

function signalGroup(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(-pid, signal);
  } catch (error) {
    // It has ended, and the guardian's word of it is on its way.
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}

/** The guardian's next message that `pick` takes. Throws when the guardian ends before. */
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
      reject(new Error(`The guardian of a server ended with ${code}`));
    };
    const leave = () => guardian.off('message', onMessage).off('exit', onExit);
    guardian.on('message', onMessage).on('exit', onExit);
  });
}

/** Runs a command to its end. Throws the end of its log when it fails. */
export async function runToEnd(guard: Guard, command: string, args: readonly string[]): Promise<void> {
  const child = await guard.run(command, args);
  const code = await child.ended;
  if (code !== 0) throw new Error(`${command} ended with ${code}: ${child.logTail()}`);
}

/**
 * Asks until `answers` no longer throws. Throws when `earlyEnd` has something to say (the server has ended, and this is
 * the tail of its log), and after `maxMs`.
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
