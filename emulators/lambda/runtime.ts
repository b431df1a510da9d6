import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pLimit from 'p-limit';
import { type Guard, type GuardedProcess, openGuard } from '../process/guarded-process.ts';
import {
  type LambdaError,
  type LambdaResult,
  openRuntimeApi,
  PAYLOAD_BYTES_MAX,
  type RuntimeApi,
} from './runtime-api.ts';
import { lambdaRic } from './runtime-client.ts';

export type { LambdaError, LambdaResult } from './runtime-api.ts';

export type LambdaOptions = {
  /** What the zip would hold. */
  readonly folder: string;
  /** The function's own variables. Of ours it gets none, but the path. */
  readonly env?: Readonly<Record<string, string>>;
  readonly functionName?: string;
  /** File without its ending, and export. */
  readonly handler?: string;
  /** The function is told, and Node's heap is limited as Lambda does; nothing else holds it to that. Default 128. */
  readonly memoryMegabytes?: number;
};

/** A Lambda function in one sandbox at most, as Lambda runs it: by AWS's own client, a process for many invocations. */
export type Lambda = {
  /**
   * Thaws the sandbox or, if there is none, starts one, and waits for the function's answer. It has `deadlineMs` (default
   * 30 000) from the moment it is delivered the event; then it is killed. One at a time: others wait for their turn.
   */
  readonly invoke: (event: unknown, options?: { readonly deadlineMs?: number }) => Promise<LambdaResult>;
  /** Process starts so far. */
  readonly starts: () => number;
  /** When the latest process was started, on the clock of `performance.now()`. */
  readonly startedAt: () => number;
  /** Time from the start of the latest process until it first asked for an event; null if it has not. */
  readonly firstNextMs: () => number | null;
  readonly pid: () => number;
  /** Resident memory of the process, now and at the most. */
  readonly residentBytes: () => { readonly now: number; readonly max: number };
  /** Waits until the function asks for an event, as Lambda does, and stops its process until `thaw` or `invoke`. */
  readonly freeze: () => Promise<void>;
  readonly thaw: () => void;
  /** All that its processes have printed. */
  readonly logs: () => string;
  readonly stop: () => Promise<void>;
};

const FUNCTION_NAME = 'function';
const DEADLINE_MS = 30_000;
const MEMORY_MEGABYTES = 128;
const REGION = 'us-east-1';
/** As long as Lambda waits for the first `next`. */
const START_MS_MAX = 10_000;
const PID_FILE = 'pid';
const LOG_FILE = 'function.log';
/** A process in the folder of its code, of known pid, with a log file and an environment of its own. */
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

/** Stands where a process had to answer and will not. */
type Lost = { readonly lost: LambdaError };

/**
 * Starts a function and waits until it asks for its first event. One that cannot start is no failure here: as with
 * Lambda, its invocations try again, and show the error. Throws where AWS's client cannot be installed.
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
    const delivered = sandbox.api.deliver({ requestId, functionArn, deadlineMs: Date.now() + deadlineMs, payload });
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
    // As the start script of Lambda's runtimes has it.
    `--max-semi-space-size=${Math.floor(youngMegabytes / 2)}`,
    `--max-old-space-size=${memoryMegabytes - youngMegabytes}`,
    ric,
  ];
  const variables = Object.entries(env).map(([name, value]) => `${name}=${value}`);
  const startedAt = performance.now();
  const child = await guard.run('sh', ['-c', START, 'sh', folder, ...variables, ...node]);
  return { process: child, api, startedAt };
}

/** See https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html; its client insists on some of them. */
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

/** Waits until it waits for an event; resolves to what keeps it from that. */
async function untilReady(sandbox: Sandbox): Promise<LambdaError | null> {
  const tooLate = `No request for an event within ${START_MS_MAX} ms`;
  const result = await resultOrLoss(sandbox, sandbox.api.waitForNext(), START_MS_MAX, tooLate);
  return result !== null && 'lost' in result ? result.lost : result;
}

/** What the process answers, unless it ends before or takes longer than it may. */
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
