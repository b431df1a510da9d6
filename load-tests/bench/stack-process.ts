import type { ChildProcess } from 'node:child_process';
import { readStack, type Stack } from '../../cli/start/stack.ts';
import { TollwayError } from '../../common/errors.ts';
import { sleep } from '../../common/process.ts';
import { freePorts } from '../../emulators/process/free-ports.ts';
import type { BenchContext } from './bench.ts';
import { commandOf } from './npm-script.ts';

const START_MS_MAX = 60_000;

/** A stack of `npm start` in a temporary folder. `pid`: the process that started the others. */
export type StackProcess = {
  readonly stack: Stack;
  readonly pid: number;
};

/** Starts the stack of a checkout on free ports, with an embedded PostgreSQL and these settings. Throws `no_stack`. */
export async function startStack(
  root: string,
  settings: Readonly<Record<string, string>>,
  { resources, progress, env }: BenchContext,
): Promise<StackProcess> {
  progress.say('Starting the stack');
  const dataDir = resources.folder();
  const [port, adServerOpsPort, processorOpsPort, consolePort, consoleOpsPort] = await freePorts(5);
  const child = resources.child(commandOf(root, 'start'), {
    cwd: root,
    env: {
      ...env,
      ...settings,
      DATA_DIR: dataDir,
      AD_SERVER_HOST: '127.0.0.1',
      AD_SERVER_PORT: String(port),
      AD_SERVER_OPS_PORT: String(adServerOpsPort),
      PROCESSOR_OPS_PORT: String(processorOpsPort),
      CONSOLE_PORT: String(consolePort),
      CONSOLE_OPS_PORT: String(consoleOpsPort),
      PUBLIC_URL: `http://127.0.0.1:${port}`,
    },
  });
  return { stack: await waitForStack(child, dataDir), pid: child.pid ?? 0 };
}

async function waitForStack(child: ChildProcess, dataDir: string): Promise<Stack> {
  for (const deadline = performance.now() + START_MS_MAX; performance.now() < deadline; await sleep(100)) {
    const stack = readStack(dataDir);
    if (stack) return stack;
    if (child.exitCode !== null || child.signalCode !== null) break;
  }
  throw new TollwayError('no_stack', `The stack did not start within ${START_MS_MAX / 1_000} s`);
}
