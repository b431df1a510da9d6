import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const ROOT = join(import.meta.dirname, '..', '..');
/** A user agent that is no robot. */
export const BROWSER =
  'Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36';

export type CliResult = { code: number | null; stdout: string; stderr: string };

/** Everything that `npm start` runs, as real processes in a folder of its own. */
export type TestStack = {
  readonly adServerUrl: string;
  readonly adServerOpsUrl: string;
  readonly processorOpsUrl: string;
  readonly env: NodeJS.ProcessEnv;
  readonly process: ChildProcess;
  readonly printed: () => string;
  /** Runs `npx tollway …` on this stack. */
  readonly tollway: (...args: string[]) => Promise<CliResult>;
  /** Ends it with a signal and resolves to the exit code. */
  readonly stop: (signal?: NodeJS.Signals) => Promise<number | null>;
  /** SIGKILL for the whole tree at once, PostgreSQL included. */
  readonly killTree: () => Promise<void>;
  /** The processes that run a script, such as `processor/main.ts`; a parent before its children. */
  readonly pidsOf: (script: string) => number[];
  /** The first of them. */
  readonly pidOf: (script: string) => number;
  readonly postmasterPid: () => number;
};

/** A folder that is reachable for the user PostgreSQL runs as. */
export function makeFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'tollway-test-'));
  execFile('chmod', ['755', folder]);
  return folder;
}

export function removeFolder(folder: string): void {
  rmSync(folder, { recursive: true, force: true, maxRetries: 5, retryDelay: 200 });
}

/** Settings of a stack that meets no other: free ports, a folder of its own. */
export async function stackEnv(
  folder: string,
  more: Record<string, string> = {},
): Promise<NodeJS.ProcessEnv> {
  const [adServer, adServerOps, processorOps] = await freePorts(3);
  const { DATABASE_URL: _, LINK_KEYS: __, ...inherited } = process.env;
  return {
    ...inherited,
    DATA_DIR: join(folder, 'data'),
    AD_SERVER_PORT: String(adServer),
    AD_SERVER_OPS_PORT: String(adServerOps),
    PROCESSOR_OPS_PORT: String(processorOps),
    ...more,
  };
}

/** Starts a stack and waits until it says that it is open. Throws what it printed if it ends before. */
export async function startStack(env: NodeJS.ProcessEnv): Promise<TestStack> {
  const child = runScript('cli/start/main.ts', env);
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
      await waitFor(() => tree.every((one) => !isAlive(one)));
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

/** Runs an entry file as a process. Its channel closes when this process ends, however that happens, and then it ends too. */
export function runScript(script: string, env: NodeJS.ProcessEnv, ...args: string[]): ChildProcess {
  return spawn(process.execPath, [join(ROOT, script), ...args], {
    env,
    cwd: ROOT,
    stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
  });
}

/** Runs an entry file to its end. */
export async function runToEnd(
  script: string,
  env: NodeJS.ProcessEnv,
  ...args: string[]
): Promise<CliResult> {
  const child = runScript(script, env, ...args);
  let stdout = '';
  let stderr = '';
  child.stdout?.setEncoding('utf8').on('data', (text) => {
    stdout += text;
  });
  child.stderr?.setEncoding('utf8').on('data', (text) => {
    stderr += text;
  });
  const [code] = (await once(child, 'close')) as [number | null];
  return { code, stdout, stderr };
}

/** Runs `npx tollway …` with an environment. */
export function tollway(env: NodeJS.ProcessEnv, ...args: string[]): Promise<CliResult> {
  return runToEnd('cli/main.ts', env, ...args);
}

/** Polls until something holds; throws after `timeoutMs`. */
export async function waitFor(
  holds: () => boolean | Promise<boolean>,
  timeoutMs = 20_000,
  what = 'the condition',
): Promise<void> {
  const deadline = Date.now() + timeoutMs;
  while (!(await holds())) {
    if (Date.now() > deadline) throw new Error(`Expected ${what} within ${timeoutMs} ms`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

export async function freePorts(count: number): Promise<number[]> {
  const servers = await Promise.all(
    Array.from({ length: count }, async () => {
      const server = createServer().listen(0, '127.0.0.1');
      await once(server, 'listening');
      return server;
    }),
  );
  return servers.map((server) => {
    const address = server.address();
    server.close();
    return typeof address === 'object' && address !== null ? address.port : 0;
  });
}

export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    // A zombie waits for its parent to look; it runs no more.
    return !/\) Z /.test(readFileSync(`/proc/${pid}/stat`, 'utf8'));
  } catch {
    return false;
  }
}

function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // It was faster.
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

/** A process and all below it. */
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
