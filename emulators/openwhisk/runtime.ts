import { randomUUID } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { freePorts } from '../process/free-ports.ts';
import { type Guard, type GuardedProcess, openGuard, untilAnswers } from '../process/guarded-process.ts';

/** A container of an OpenWhisk action, with the behavior of the invoker, for tests. */
export type OpenwhiskRuntime = {
  /**
   * Runs the action with its bound parameters and with `params`, which take precedence. After `timeoutMs` the container is killed, as by the
   * invoker. Concurrent runs are refused with status 403.
   */
  readonly run: (
    params: Readonly<Record<string, unknown>>,
    limits: { readonly timeoutMs: number },
  ) => Promise<OpenwhiskAnswer>;
  /** Its output, without the markers at the end of each activation. */
  readonly logs: () => { readonly stdout: string; readonly stderr: string };
  /** Freezes the process with its timers and connections, like the invoker 10 s after a run. */
  readonly pause: () => void;
  readonly resume: () => void;
  /** Kills it and removes its files. */
  readonly stop: () => Promise<void>;
  readonly pid: number;
};

/**
 * `status` is that of the runtime's answer: 200 for an action that returned an error and can run again. After 403, 500 and 502 the platform removes
 * the container; here it stays, so that tests can inspect it. `ended`: the process has ended. `timeout`: it was killed at its deadline. 413: the
 * parameters or the result exceed 1 MiB.
 */
export type OpenwhiskAnswer =
  | { readonly ok: true; readonly result: unknown }
  | { readonly ok: false; readonly error: unknown; readonly status: number | 'ended' | 'timeout' };

export type OpenwhiskOptions = {
  /** The content of the zip, or its path. */
  readonly zip: Buffer | string;
  /** The name of the exported function. Default: main. */
  readonly main?: string;
  /** Parameters bound to the action or its package. */
  readonly params?: Readonly<Record<string, unknown>>;
  /** Environment variables of the action. It inherits none of this process. */
  readonly env?: Readonly<Record<string, string>>;
  /** The command of another action proxy, such as the original one. It must listen on PORT. */
  readonly proxy?: readonly string[];
};

/** See https://github.com/apache/openwhisk/blob/master/docs/reference.md#system-limits. */
const PAYLOAD_MAX_BYTES = 1_048_576;
/** The platform's default timeout of a run, and of the initialization before it. */
const INIT_MS_MAX = 60_000;
const END_MARK = /^XXX_THE_END_OF_A_WHISK_ACTIVATION_XXX\n/gm;
/** Starts the proxy with a clean environment and its own output files. `exec` keeps the guarded process id. */
const CONTAINER = 'echo $$ > pid; exec env -i PATH="$PATH" PORT="$0" "$@" > stdout.log 2> stderr.log';

/** Starts a container and initializes it with the code. Throws an error with the runtime's answer if that fails. */
export async function startOpenwhisk(options: OpenwhiskOptions): Promise<OpenwhiskRuntime> {
  const guard = await openGuard(join(tmpdir(), 'tollway-openwhisk-'));
  try {
    return await startIn(guard, options);
  } catch (error) {
    await guard.end();
    throw error;
  }
}

async function startIn(guard: Guard, options: OpenwhiskOptions): Promise<OpenwhiskRuntime> {
  const { zip, main = 'main', params: bound = {}, env = {} } = options;
  const proxy = options.proxy ?? [process.execPath, join(import.meta.dirname, 'proxy.ts')];
  const [port] = await freePorts(1);
  const url = `http://127.0.0.1:${port}`;
  const printed = (name: string) => {
    const path = join(guard.folder, name);
    return existsSync(path) ? readFileSync(path, 'utf8').replace(END_MARK, '') : '';
  };
  const server = await guard.run('/bin/sh', ['-c', CONTAINER, String(port), ...proxy]);
  await untilAnswers(
    'The OpenWhisk runtime',
    () => fetch(url),
    async () => (server.hasEnded() ? printed('stderr.log') : null),
  );

  const code = (typeof zip === 'string' ? readFileSync(zip) : zip).toString('base64');
  const variables = Object.entries(activation(main, INIT_MS_MAX)).map(
    ([name, text]) => [`__OW_${name.toUpperCase()}`, text] as const,
  );
  const value = { name: main, main, binary: true, code, env: { ...env, ...Object.fromEntries(variables) } };
  const started = await post(server, `${url}/init`, { value }, INIT_MS_MAX);
  if (!started.ok) throw new Error(`The action did not start (${started.status}): ${started.error}`);

  return {
    run: async (params, { timeoutMs }) => {
      const bytes = Buffer.byteLength(JSON.stringify(params));
      if (bytes > PAYLOAD_MAX_BYTES) {
        const error = `Request larger than allowed: ${bytes} > ${PAYLOAD_MAX_BYTES} bytes.`;
        return { ok: false, error, status: 413 };
      }
      const body = { value: { ...bound, ...params }, ...activation(main, timeoutMs) };
      return post(server, `${url}/run`, body, timeoutMs);
    },
    logs: () => ({ stdout: printed('stdout.log'), stderr: printed('stderr.log') }),
    pause: () => server.signal('SIGSTOP'),
    resume: () => server.signal('SIGCONT'),
    stop: guard.end,
    pid: Number(readFileSync(join(guard.folder, 'pid'), 'utf8')),
  };
}

/** The metadata of an activation that the invoker passes to the action. */
function activation(main: string, timeoutMs: number): Record<string, string> {
  return {
    namespace: 'guest',
    action_name: `/guest/tollway/${main}`,
    action_version: '0.0.1',
    activation_id: randomUUID().replaceAll('-', ''),
    transaction_id: randomUUID().replaceAll('-', ''),
    deadline: String(Date.now() + timeoutMs),
  };
}

async function post(
  server: GuardedProcess,
  url: string,
  body: unknown,
  timeoutMs: number,
): Promise<OpenwhiskAnswer> {
  const signal = AbortSignal.timeout(timeoutMs);
  try {
    const headers = { 'Content-Type': 'application/json' };
    const response = await fetch(url, { method: 'POST', headers, body: JSON.stringify(body), signal });
    return parseAnswer(response.status, await response.text());
  } catch {
    // The platform removes a container that does not answer.
    server.signal('SIGKILL');
    await server.ended;
    if (signal.aborted) {
      const error = `The action exceeded its time limits of ${timeoutMs} milliseconds.`;
      return { ok: false, error, status: 'timeout' };
    }
    const error = 'The action did not produce a valid response and exited unexpectedly.';
    return { ok: false, error, status: 'ended' };
  }
}

/** Interprets an answer like the invoker's `processRunResponseContent` in ActivationResult.scala. */
function parseAnswer(status: number, text: string): OpenwhiskAnswer {
  const bytes = Buffer.byteLength(text);
  if (bytes > PAYLOAD_MAX_BYTES) {
    const error = `The action produced a response that exceeded the allowed length: ${bytes} > ${PAYLOAD_MAX_BYTES} bytes.`;
    return { ok: false, error, status: 413 };
  }
  const result: unknown = JSON.parse(text);
  const isObject = typeof result === 'object' && result !== null;
  if (isObject && 'error' in result) return { ok: false, error: result.error, status };
  if (isObject && status === 200) return { ok: true, result };
  const error = `The action did not produce a valid JSON or JSON Array response: ${text}`;
  return { ok: false, error, status };
}
