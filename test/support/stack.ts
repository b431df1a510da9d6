import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { freePorts } from '../../emulators/process/free-ports.ts';
import { type CliResult, runScript, tollway } from './run-script.ts';
import { until } from './until.ts';

/** A user agent of a browser. */
export const BROWSER =
  'Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36';

/** Everything that `npm start` runs, as real processes in a new folder. */
export type TestStack = {
  readonly adServerUrl: string;
  readonly adServerOpsUrl: string;
  readonly processorOpsUrl: string;
  readonly consoleUrl: string;
  readonly env: NodeJS.ProcessEnv;
  readonly process: ChildProcess;
  readonly printed: () => string;
  /** Runs `npx tollway …` on this stack. */
  readonly tollway: (...args: string[]) => Promise<CliResult>;
  /** Sends the signal and resolves to the exit code. */
  readonly stop: (signal?: NodeJS.Signals) => Promise<number | null>;
  /** SIGKILL for the whole tree at once, PostgreSQL included. */
  readonly killTree: () => Promise<void>;
  /** The processes that run a script, such as `processor/main.ts`; a parent before its children. */
  readonly pidsOf: (script: string) => number[];
  /** The first of them. */
  readonly pidOf: (script: string) => number;
  readonly postmasterPid: () => number;
};

/** Settings of a stack: free ports, and its data below `folder`. */
export async function stackEnv(
  folder: string,
  more: Record<string, string> = {},
): Promise<NodeJS.ProcessEnv> {
  const [adServer, adServerOps, processorOps, console, consoleOps] = await freePorts(5);
  const { DATABASE_URL: _, LINK_KEYS: __, ...inherited } = process.env;
  return {
    ...inherited,
    DATA_DIR: join(folder, 'data'),
    AD_SERVER_PORT: String(adServer),
    AD_SERVER_OPS_PORT: String(adServerOps),
    PROCESSOR_OPS_PORT: String(processorOps),
    CONSOLE_PORT: String(console),
    CONSOLE_OPS_PORT: String(consoleOps),
    ...more,
  };
}

/** Starts a stack and waits until it has printed that it is ready. Throws what it printed if it ends before. */
export async function startStack(env: NodeJS.ProcessEnv): Promise<TestStack> {
  const child = runScript('cli/start/main.js', env);
  let printed = '';
  const opened = new Promise<void>((resolve, reject) => {
    const listen = (text: string) => {
      printed += text;
      if (printed.includes('Ctrl-C drains')) resolve();
    };
    child.stdout?.setEncoding('utf8').on('data', listen);
    child.stderr?.setEncoding('utf8').on('data', listen);
    child.once('exit', (code) => reject(new Error(`start ended with ${code}: ${printed}`)));
  });
  await opened;
  const pid = child.pid ?? 0;
  return {
    adServerUrl: `http://localhost:${env.AD_SERVER_PORT}`,
    adServerOpsUrl: `http://127.0.0.1:${env.AD_SERVER_OPS_PORT}`,
    processorOpsUrl: `http://127.0.0.1:${env.PROCESSOR_OPS_PORT}`,
    consoleUrl: `http://127.0.0.1:${env.CONSOLE_PORT}`,
    env,
    process: child,
    printed: () => printed,
    tollway: (...args) => tollway(env, ...args),
    stop: async (signal = 'SIGTERM') => {
      if (child.exitCode !== null || child.signalCode !== null) return child.exitCode;
      const exited = once(child, 'exit');
      child.kill(signal);
      const [code] = (await exited) as [number | null];
      return code;
    },
    killTree: async () => {
      const exited = once(child, 'exit');
      const tree = [...descendants(pid), ...descendants(postmasterPid(env))];
      for (const one of tree) kill(one);
      await exited;
      await until('the end of all processes', () => tree.every((one) => !isAlive(one)));
    },
    pidsOf: (script) => descendants(pid).filter((one) => commandLine(one).includes(script)),
    pidOf: (script) => {
      const found = descendants(pid).find((one) => commandLine(one).includes(script));
      if (found === undefined) throw new Error(`Expected a process that runs ${script}`);
      return found;
    },
    postmasterPid: () => postmasterPid(env),
  };
}

/** Whether a process runs. */
export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    // A zombie has ended; only its parent has not read its exit code.
    return !/\) Z /.test(readFileSync(`/proc/${pid}/stat`, 'utf8'));
  } catch {
    return false;
  }
}

function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // It has ended already.
  }
}

function postmasterPid(env: NodeJS.ProcessEnv): number {
  return Number(readFileSync(join(env.DATA_DIR ?? '', 'postgres', 'postmaster.pid'), 'utf8').split('\n')[0]);
}

function commandLine(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ');
  } catch {
    return '';
  }
}

/** A process and its children, their children and so on. */
export function descendants(root: number): number[] {
  const parents = new Map<number, number>();
  for (const name of readdirSync('/proc').filter((entry) => /^\d+$/.test(entry))) {
    try {
      const [, , parent] = /\) (\S) (\d+)/.exec(readFileSync(`/proc/${name}/stat`, 'utf8')) ?? [];
      parents.set(Number(name), Number(parent));
    } catch {
      // It has ended.
    }
  }
  const found = [root];
  for (const pid of found) for (const [child, parent] of parents) if (parent === pid) found.push(child);
  return found;
}
