import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pLimit from 'p-limit';
import { type Guard, type GuardedProcess, openGuard } from '../process/guarded-process.ts';
import { openRuntimeApi, PAYLOAD_BYTES_MAX, type RuntimeApi } from './runtime-api.ts';
import { lambdaRic } from './runtime-client.ts';
import type { LambdaError, LambdaResult } from './runtime-session.ts';

export type { LambdaError, LambdaResult } from './runtime-session.ts';

export type LambdaOptions = {
  /** The folder with the content of the zip. */
  readonly folder: string;
  /** Environment variables of the function. It inherits only PATH from this process. */
  readonly env?: Readonly<Record<string, string>>;
  readonly functionName?: string;
  /** File name without its extension, and the name of the export. Default `index.handler`. */
  readonly handler?: string;
  /** Memory in MB, default 128. It sets the environment variable and the heap limits of Node as in Lambda, but is not enforced otherwise. */
  readonly memoryMegabytes?: number;
};

/** A Lambda function with at most one sandbox: a process with AWS's runtime client that handles many invocations. */
export type Lambda = {
  /**
   * Invokes the function: thaws its sandbox, or starts a new one. The process is killed `deadlineMs` (default 30 000) after it got the event.
   * Invocations run one after the other.
   */
  readonly invoke: (event: unknown, options?: { readonly deadlineMs?: number }) => Promise<LambdaResult>;
  /** Process starts so far. */
  readonly starts: () => number;
  /** Start of the latest process, on the clock of `performance.now()`. */
  readonly startedAt: () => number;
  /** Time from the start of the latest process to its first request for an event, in ms; `null` before. */
  readonly firstNextMs: () => number | null;
  readonly pid: () => number;
  /** Current and highest resident memory of the process. */
  readonly residentBytes: () => { readonly now: number; readonly max: number };
  /** Waits until the function requests an event, like Lambda, and stops its process until `thaw` or `invoke`. */
  readonly freeze: () => Promise<void>;
  readonly thaw: () => void;
  /** The output of all its processes. */
  readonly logs: () => string;
  readonly stop: () => Promise<void>;
};

const FUNCTION_NAME = 'function';
const DEADLINE_MS = 30_000;
const MEMORY_MEGABYTES = 128;
const REGION = 'us-east-1';
/** Timeout of the first request for an event, in ms, as in Lambda. */
const START_MS_MAX = 10_000;
const PID_FILE = 'pid';
const LOG_FILE = 'function.log';
/** Starts the process in the folder of its code with a clean environment, and writes its pid and its output to files. */
const START = `
  guard=$PWD
  echo $$ > "$guard/${PID_FILE}"
  cd "$1" && shift && exec env -i "$@" >> "$guard/${LOG_FILE}" 2>&1
`;

/** One process and its side of the Runtime API. */
type Sandbox = {
  readonly process: GuardedProcess;
  readonly api: RuntimeApi;
  readonly startedAt: number;
};

/** The error of a process that ended or timed out before it answered. */
type Lost = { readonly lost: LambdaError };

/**
 * Starts a function and waits until it requests its first event. If the function cannot start, its invocations start it again and return the
 * error, as in Lambda. Throws if AWS's runtime client cannot be installed.
 */
export async function startLambda(options: LambdaOptions): Promise<Lambda> {
  const ric = await lambdaRic();
  const guard = await openGuard(join(tmpdir(), 'tollway-lambda-'));
  try {
    return await startIn(guard, ric, options);
  } catch (error) {
    await guard.end();
    throw error;
  }
}

async function startIn(guard: Guard, ric: string, options: LambdaOptions): Promise<Lambda> {
  const oneAtATime = pLimit(1);
  let starts = 1;
  let sandbox = await startSandbox(guard, ric, options);
  await untilReady(sandbox);

  const invokeNow = async (event: unknown, deadlineMs: number): Promise<LambdaResult> => {
    const payload = payloadOf(event);
    sandbox.process.signal('SIGCONT');
    if (sandbox.process.hasEnded() || (await untilReady(sandbox)) !== null) {
      await endSandbox(sandbox);
      starts += 1;
      sandbox = await startSandbox(guard, ric, options);
      const error = await untilReady(sandbox);
      if (error !== null) return { error };
    }
    const requestId = randomUUID();
    const functionArn = `arn:aws:lambda:${REGION}:123456789012:function:${options.functionName ?? FUNCTION_NAME}`;
    const delivered = sandbox.api.send({
      requestId,
      functionArn,
      deadlineMs: Date.now() + deadlineMs,
      payload,
    });
    const tooLate = `Task timed out after ${(deadlineMs / 1_000).toFixed(2)} seconds`;
    const result = await resultOrLoss(sandbox, delivered, deadlineMs, tooLate, requestId);
    if (!('lost' in result)) return result;
    await endSandbox(sandbox);
    return { error: result.lost };
  };

  let lastLogs: string | null = null;
  return {
    invoke: (event, { deadlineMs = DEADLINE_MS } = {}) => oneAtATime(invokeNow, event, deadlineMs),
    starts: () => starts,
    startedAt: () => sandbox.startedAt,
    firstNextMs: () => {
      const at = sandbox.api.firstNextAt();
      return at === null ? null : at - sandbox.startedAt;
    },
    pid: () => pidIn(guard),
    residentBytes: () => residentBytes(pidIn(guard)),
    freeze: () =>
      oneAtATime(async () => {
        if ((await untilReady(sandbox)) === null) sandbox.process.signal('SIGSTOP');
      }),
    thaw: () => sandbox.process.signal('SIGCONT'),
    logs: () => lastLogs ?? readFileSync(join(guard.folder, LOG_FILE), 'utf8'),
    stop: async () => {
      if (lastLogs !== null) return;
      lastLogs = readFileSync(join(guard.folder, LOG_FILE), 'utf8');
      await guard.end();
      await sandbox.api.close();
    },
  };
}

async function startSandbox(guard: Guard, ric: string, options: LambdaOptions): Promise<Sandbox> {
  const api = await openRuntimeApi();
  const { folder, memoryMegabytes = MEMORY_MEGABYTES } = options;
  const env = { ...environment(api.address, options), ...options.env };
  const youngMegabytes = Math.floor(memoryMegabytes / 10);
  const node = [
    process.execPath,
    '--expose-gc',
    '--max-http-header-size=81920',
    // The options of the start script of Lambda's runtimes.
    `--max-semi-space-size=${Math.floor(youngMegabytes / 2)}`,
    `--max-old-space-size=${memoryMegabytes - youngMegabytes}`,
    ric,
  ];
  const variables = Object.entries(env).map(([name, value]) => `${name}=${value}`);
  const startedAt = performance.now();
  const child = await guard.run('sh', ['-c', START, 'sh', folder, ...variables, ...node]);
  return { process: child, api, startedAt };
}

/** Lambda's environment variables, some of which the runtime client requires. https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html */
function environment(address: string, options: LambdaOptions): Record<string, string> {
  const { functionName: name = FUNCTION_NAME } = options;
  return {
    _HANDLER: options.handler ?? 'index.handler',
    LAMBDA_TASK_ROOT: options.folder,
    AWS_LAMBDA_RUNTIME_API: address,
    AWS_LAMBDA_FUNCTION_NAME: name,
    AWS_LAMBDA_FUNCTION_VERSION: '$LATEST',
    AWS_LAMBDA_FUNCTION_MEMORY_SIZE: String(options.memoryMegabytes ?? MEMORY_MEGABYTES),
    AWS_LAMBDA_LOG_GROUP_NAME: `/aws/lambda/${name}`,
    AWS_LAMBDA_LOG_STREAM_NAME: '2026/01/01/[$LATEST]00000000000000000000000000000000',
    AWS_LAMBDA_INITIALIZATION_TYPE: 'on-demand',
    AWS_EXECUTION_ENV: `AWS_Lambda_nodejs${process.versions.node.split('.')[0]}.x`,
    AWS_REGION: REGION,
    AWS_DEFAULT_REGION: REGION,
    LANG: 'en_US.UTF-8',
    TZ: ':UTC',
    PATH: process.env.PATH ?? '',
  };
}

async function endSandbox({ process: child, api }: Sandbox): Promise<void> {
  child.signal('SIGKILL');
  await child.ended;
  await api.close();
}

/** Waits until the process waits for an event. Resolves to `null`, or to the error with which it failed to start. */
async function untilReady(sandbox: Sandbox): Promise<LambdaError | null> {
  const tooLate = `The process did not request an event within ${START_MS_MAX} ms`;
  const result = await resultOrLoss(sandbox, sandbox.api.waitForNext(), START_MS_MAX, tooLate);
  return result !== null && 'lost' in result ? result.lost : result;
}

/** The answer of the process, or an error if it ends or `msMax` pass before the answer. */
async function resultOrLoss<T>(
  sandbox: Sandbox,
  answer: Promise<T>,
  msMax: number,
  tooLate: string,
  requestId?: string,
): Promise<T | Lost> {
  const lost = (errorType: string, message: string): Lost => {
    const errorMessage = requestId === undefined ? message : `RequestId: ${requestId} Error: ${message}`;
    return { lost: { errorType, errorMessage, stackTrace: [] } };
  };
  let timer: NodeJS.Timeout | undefined;
  const timedOut = new Promise<Lost>((resolve) => {
    timer = setTimeout(() => resolve(lost('Sandbox.Timedout', tooLate)), msMax);
  });
  const ended = sandbox.process.ended.then((code) => lost('Runtime.ExitError', exitMessage(code)));
  try {
    return await Promise.race([answer, ended, timedOut]);
  } finally {
    clearTimeout(timer);
  }
}

function exitMessage(code: number | null): string {
  if (code === 0) return 'Runtime exited without providing a reason';
  return `Runtime exited with error: ${code === null ? 'a signal' : `exit status ${code}`}`;
}

function payloadOf(event: unknown): string {
  const payload = JSON.stringify(event);
  const bytes = Buffer.byteLength(payload);
  if (bytes <= PAYLOAD_BYTES_MAX) return payload;
  throw new Error(`Expected an event of at most ${PAYLOAD_BYTES_MAX} bytes, got ${bytes}`);
}

function pidIn(guard: Guard): number {
  return Number(readFileSync(join(guard.folder, PID_FILE), 'utf8'));
}

function residentBytes(pid: number): { now: number; max: number } {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  const bytes = (field: string) =>
    1_024 * Number(new RegExp(`^${field}:\\s+(\\d+) kB$`, 'm').exec(status)?.[1]);
  return { now: bytes('VmRSS'), max: bytes('VmHWM') };
}
