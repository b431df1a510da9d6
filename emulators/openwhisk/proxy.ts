/**
 * The action proxy in the container of a Node action of OpenWhisk: a server on PORT that receives the code once at /init and runs it at /run. The
 * original is not published to a registry; this module has the same behavior, exit codes and messages. See
 * https://github.com/apache/openwhisk-runtime-nodejs/tree/master/core/nodejsActionBase (runner.js, src/service.js).
 */
import { existsSync, mkdirSync, mkdtempSync, writeFileSync } from 'node:fs';
import { createServer, type IncomingMessage } from 'node:http';
import { createRequire } from 'node:module';
import { dirname, join, resolve } from 'node:path';
import { unzipSync } from 'fflate';

/** The newest Node of the platform is 20, so newer language features are removed. */
for (const [holder, names] of [
  [Promise, ['withResolvers', 'try']],
  [Map, ['groupBy']],
  [Object, ['groupBy']],
  [Array, ['fromAsync']],
  [Set.prototype, ['union', 'intersection', 'difference', 'isSubsetOf']],
] as const) {
  for (const name of names) Reflect.deleteProperty(holder, name);
}

type Action = (params: unknown) => unknown;
type Answer = { readonly code: number; readonly response: unknown };

const END_MARK = 'XXX_THE_END_OF_A_WHISK_ACTIVATION_XXX';

let status: 'ready' | 'starting' | 'running' | 'stopped' = 'ready';
let action: Action | undefined;

function setStatus(next: typeof status): void {
  // A stopped action never runs again. The platform removes its container.
  if (status !== 'stopped') status = next;
}

async function init(body: Record<string, unknown>): Promise<Answer> {
  if (action !== undefined) return refusal('Cannot initialize the action more than once.');
  if (status !== 'ready') return refusal(`System not ready, status is ${status}.`);
  const message = (body.value ?? {}) as Record<string, unknown>;
  const { main, code } = message;
  if (typeof main !== 'string' || typeof code !== 'string' || main === '' || code === '')
    return { code: 403, response: { error: 'Missing main/no code to execute.' } };
  setStatus('starting');
  setEnvironment(message.env);
  try {
    action = load(Buffer.from(code, 'base64'), main);
    setStatus('ready');
    return { code: 200, response: { OK: true } };
  } catch (error) {
    console.error('Error during initialization:', error);
    writeMarks();
    setStatus('stopped');
    const reason = (error instanceof Error && error.stack) || String(error);
    return { code: 502, response: { error: `Initialization has failed due to: ${reason}` } };
  }
}

function setEnvironment(env: unknown): void {
  if (typeof env !== 'object' || env === null) return;
  for (const [name, value] of Object.entries(env)) {
    if (typeof value === 'object' && value !== null) process.env[name] = JSON.stringify(value);
    else process.env[name] = value ? String(value) : '';
  }
}

/** Loads the function named `main`. Throws an error of the action's code, or a message as a string. */
function load(zip: Buffer, main: string): Action {
  const folder = resolve(mkdtempSync('./'));
  for (const [path, bytes] of Object.entries(unzipSync(zip))) {
    if (path.endsWith('/')) continue;
    mkdirSync(dirname(join(folder, path)), { recursive: true });
    writeFileSync(join(folder, path), bytes);
  }
  process.chdir(folder);
  const dot = main.indexOf('.');
  const file = dot > 0 ? main.slice(0, dot) : undefined;
  if (file === undefined && !existsSync('package.json') && !existsSync('index.js'))
    throw 'Zipped actions must contain either package.json or index.js at the root.';
  const exported: unknown = createRequire(import.meta.url)(file === undefined ? folder : join(folder, file));
  const handler = main
    .slice(dot + 1)
    .split('.')
    .reduce((value, name) => (value as Record<string, unknown>)[name], exported);
  if (typeof handler !== 'function') throw `Action entrypoint '${main}' is not a function.`;
  return handler as Action;
}

async function run(body: Record<string, unknown>): Promise<Answer> {
  if (action === undefined) return refusal('System not initialized.');
  if (status !== 'ready') return refusal(`System not ready, status is ${status}.`);
  setStatus('running');
  const value = body.value ?? {};
  if (typeof value !== 'object') {
    // As in the original, the status stays `running` after this.
    return refusal(
      `Internal system error: the argument must be a dictionary but has type '${typeof body.value}'.`,
    );
  }
  for (const [name, text] of Object.entries(body)) {
    if (typeof text === 'string' && name !== 'value') process.env[`__OW_${name.toUpperCase()}`] = text;
  }
  let pending: unknown;
  try {
    pending = action(value);
  } catch (error) {
    console.error(error);
    writeMarks();
    setStatus('stopped');
    return { code: 502, response: { error: `An error has occurred: ${error}` } };
  }
  const result = await Promise.resolve(pending).then(
    (resolved) => (resolved === undefined ? {} : resolved),
    // A rejected promise is a result, so the action can run again.
    (error: unknown) => ({ error: error ? serializedOrWhyNot(error) : {} }),
  );
  if (typeof result !== 'object')
    console.error(`Result must be of type object but has type "${typeof result}":`, result);
  writeMarks();
  setStatus('ready');
  if (typeof result !== 'object')
    return { code: 502, response: { error: 'The action did not return a dictionary.' } };
  return { code: 200, response: result };
}

function refusal(message: string): Answer {
  console.error('Internal system error:', message);
  return { code: 403, response: { error: message } };
}

function writeMarks(): void {
  console.log(END_MARK);
  console.error(END_MARK);
}

function serializedOrWhyNot(error: unknown): unknown {
  try {
    return serialized(error, []);
  } catch (reason) {
    return (reason as Error).message;
  }
}

/** Serializes an error with its non-enumerable properties. The original uses version 9.1 of the package `serialize-error`. */
function serialized(value: unknown, above: readonly unknown[]): unknown {
  if (typeof value === 'function') return `[Function: ${value.name || 'anonymous'}]`;
  if (typeof value !== 'object' || value === null) return value;
  if ('toJSON' in value && typeof value.toJSON === 'function') return value.toJSON();
  const copy: Record<string, unknown> | unknown[] = Array.isArray(value) ? [] : {};
  const path = [...above, value];
  for (const [name, item] of Object.entries(value)) {
    if (typeof item === 'function') continue;
    // That version throws for null, and the message of the action is lost.
    if (item === null) throw new TypeError("Cannot read properties of null (reading 'pipe')");
    let kept = path.includes(item) ? '[Circular]' : serialized(item, path);
    if (Buffer.isBuffer(item)) kept = '[object Buffer]';
    Object.assign(copy, { [name]: kept });
  }
  for (const name of ['name', 'message', 'stack', 'code']) {
    const text = (value as Record<string, unknown>)[name];
    if (typeof text === 'string') Object.assign(copy, { [name]: text });
  }
  return copy;
}

async function bodyOf(request: IncomingMessage): Promise<Record<string, unknown>> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  return JSON.parse(Buffer.concat(chunks).toString('utf8')) as Record<string, unknown>;
}

const server = createServer(async (request, response) => {
  let answer: Answer = { code: 500, response: { error: 'Bad request.' } };
  const endpoint = request.method === 'POST' && ({ '/init': init, '/run': run }[request.url ?? ''] ?? null);
  const body = endpoint && (await bodyOf(request).catch(() => null));
  if (endpoint && body) answer = await endpoint(body);
  let json: string;
  try {
    json = JSON.stringify(answer.response);
  } catch (error) {
    console.error('[wrapEndpoint]', 'invalid errored promise', JSON.stringify(error));
    answer = { code: 500, response: { error: 'Internal error.' } };
    json = JSON.stringify(answer.response);
  }
  response.writeHead(answer.code, { 'Content-Type': 'application/json; charset=utf-8' }).end(json);
});
// An action can take longer than Node's default request timeout.
server.requestTimeout = 0;
server.listen(Number(process.env.PORT));
