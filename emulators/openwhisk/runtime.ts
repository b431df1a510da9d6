import { randomUUID } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { freePorts } from '../process/free-ports.ts';
import { type Guard, type GuardedProcess, openGuard, untilAnswers } from '../process/guarded-process.ts';

/** One container of an action of OpenWhisk, and the part of the invoker, for tests. */
export type OpenwhiskRuntime = {
  /**
   * Runs the action on its bound parameters and these, which come before them. Past `timeoutMs` the container is gone, as
   * with the invoker, which grants no grace. Runs at the same time are refused with status 403.
   */
  readonly run: (
    params: Readonly<Record<string, unknown>>,
    limits: { readonly timeoutMs: number },
  ) => Promise<OpenwhiskAnswer>;
  /** What it has printed, without the marks at the end of each activation. */
  readonly logs: () => { readonly stdout: string; readonly stderr: string };
  /** Freezes it, as the invoker does 10 s after a run; timers and connections stand still with it. */
  readonly pause: () => void;
  readonly resume: () => void;
  /** Kills it and removes its files. */
  readonly stop: () => Promise<void>;
  readonly pid: number;
};

/**
 * `status` is that of the runtime's answer: 200 for an action that ended in an error and stays in service. After 403,
 * 500 and 502 the platform removes the container; here it is left for another look. `ended`: its process is gone;
 * `timeout`: it was killed at its deadline; 413: the parameters were refused, or the result cut off, above 1 MiB.
 */
export type OpenwhiskAnswer =
  | { readonly ok: true; readonly result: unknown }
  | { readonly ok: false; readonly error: unknown; readonly status: number | 'ended' | 'timeout' };

export type OpenwhiskOptions = {
  /** The zip, or its path. */
  readonly zip: Buffer | string;
  /** The name of the exported function. Default: main. */
  readonly main?: string;
  /** Parameters bound to the action or its package. */
  readonly params?: Readonly<Record<string, unknown>>;
  /** Variables that come with the code. The container has none of this process. */
  readonly env?: Readonly<Record<string, string>>;
  /** Another proxy than ours, such as the original's, and its arguments; it has to listen on PORT. */
  readonly proxy?: readonly string[];
};

/** See https://github.com/apache/openwhisk/blob/master/docs/reference.md#system-limits. */
const PAYLOAD_MAX_BYTES = 1_048_576;
/** The platform's default limit of a run, and of the start before it. */
const INIT_MAX_MS = 60_000;
const END_MARK = /^XXX_THE_END_OF_A_WHISK_ACTIVATION_XXX\n/gm;
/** Its own channels and a clean environment; `exec` keeps the process the one that is guarded. */
const CONTAINER = 'echo $$ > pid; exec env -i PATH="$PATH" PORT="$0" "$@" > stdout.log 2> stderr.log';

/** Starts a container and initializes it with the code. Throws what the runtime has to say if that fails. */
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
  const variables = Object.entries(activation(main, INIT_MAX_MS)).map(
    ([name, text]) => [`__OW_${name.toUpperCase()}`, text] as const,
  );
  const value = { name: main, main, binary: true, code, env: { ...env, ...Object.fromEntries(variables) } };
  const started = await post(server, `${url}/init`, { value }, INIT_MAX_MS);
  if (!started.ok) throw new Error(`The action does not start (${started.status}): ${started.error}`);

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

/** What the invoker says of an activation besides its parameters. */
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
    // Without an answer the container is of no more use, whether it is still there or not.
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

/** As the invoker's `processRunResponseContent` in ActivationResult.scala. */
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
