import { createHash, randomUUID } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { counted } from '../../common/counted.ts';
import { errorCode, errorMessage, TollwayError } from '../../common/errors.ts';
import { createServer } from '../../common/node-http.ts';
import { runProcess, sleep } from '../../common/process.ts';
import { listen } from '../../common/telemetry/operations-server.ts';
import type { ReadRecord } from '../../contract/click-event.ts';
import { readCloudEvents } from '../events/cloud-events.ts';
import { MemoryLimit, type MemoryReservation, readBody } from '../events/http-body.ts';
import { FunctionRuntime } from './function-runtime.ts';

const name = 'cloud-event';
const runtime = new FunctionRuntime(name, process.env);
/** Largest body, in bytes. Brokers send far smaller requests. */
const BODY_BYTES_MAX = 16_777_216;
/** Memory that the requests in progress can use together, in bytes. Further requests get 503. */
const MEMORY_BYTES_MAX = 67_108_864;
/** Approximate memory of an event in addition to its bytes; for many small events it is the larger share. */
const EVENT_BYTES = 1_024;
/** How long the rest of a refused body is read and dropped, in ms. */
const LINGER_MS = 2_000;
const memoryLimit = new MemoryLimit(MEMORY_BYTES_MAX);
/** Port without the setting `PORT`; https://knative.dev/docs/serving/services/ */
const PORT = 8080;

type Request = IncomingMessage & { readonly rawBody?: Buffer };
/** The response of a request, with the error message if it failed. */
type Answer = { readonly status: number; readonly error?: string };

/**
 * Charges the CloudEvents of a request. An HTTP function for Knative and the Functions Framework. Responds 204 after the commit; 422 if no
 * event is a click and all are stored as dead letters; 413 and 415 for refused requests, of which nothing is stored; 503 for requests
 * that must be sent again. Never rejects.
 */
export async function handle(request: Request, response: ServerResponse): Promise<void> {
  const memory = memoryLimit.open();
  const { status, error } = await answerTo(request, memory).finally(memory.release);
  const text = error === undefined ? undefined : JSON.stringify({ error });
  if (request.readableEnded || request.rawBody !== undefined || status === 200) {
    response.writeHead(status, headersOf(status)).end(text);
  } else await refuseBody(request, response, status, text ?? '');
}

function headersOf(status: number): Record<string, string> {
  return status === 503 ? { 'Retry-After': '1' } : {};
}

async function answerTo(request: Request, memory: MemoryReservation): Promise<Answer> {
  if (request.method === 'GET' && request.url === '/healthz') return { status: 200 };
  if (request.method !== 'POST')
    return { status: 405, error: `${name}: expected POST, got ${request.method}` };
  if (request.rawBody === undefined && request.readableDidRead) {
    // The body would look empty, and its clicks would be lost.
    return {
      status: 503,
      error: `${name}: The request body was already consumed. Pass it in rawBody`,
    };
  }
  const encoding = request.headers['content-encoding'] ?? 'identity';
  // A framework that passes `rawBody` has decompressed it.
  if (request.rawBody === undefined && encoding !== 'identity')
    return {
      status: 415,
      error: `${name}: content-encoding: expected none, got ${JSON.stringify(encoding)}`,
    };
  const body = await readBody(request, BODY_BYTES_MAX, memory);
  if (body === 'too_large')
    return { status: 413, error: `${name}: expected at most ${BODY_BYTES_MAX} bytes` };
  if (body === 'at_capacity') return AT_CAPACITY;
  if (body === 'incomplete')
    return { status: 400, error: `${name}: expected a complete body, but the connection was closed` };
  try {
    return await charge(request, body, memory);
  } catch (error) {
    return { status: 503, error: errorMessage(error) };
  }
}

const AT_CAPACITY: Answer = {
  status: 503,
  error: `${name}: The function is at capacity; send the request again later`,
};

async function charge(request: Request, body: Buffer, memory: MemoryReservation): Promise<Answer> {
  const hash = createHash('sha256').update(body).digest('hex').slice(0, 16);
  let records: ReadRecord[];
  try {
    records = readCloudEvents(name, request.headers, body, `request ${hash}`);
  } catch (error) {
    if (errorCode(error) === 'bad_event') return { status: 415, error: errorMessage(error) };
    if (errorCode(error) === 'too_many_events') return { status: 413, error: errorMessage(error) };
    throw error;
  }
  if (!memory.reserve(records.length * EVENT_BYTES)) return AT_CAPACITY;
  const settled = await runtime.settle(records, { id: randomUUID(), deadlineAt: null });
  const unsettled = records.length - settled;
  if (unsettled > 0) {
    const reason = runtime.problem === null ? '' : `: ${runtime.problem}`;
    const all = counted(records.length, 'event');
    return {
      status: 503,
      error: `${name}: ${counted(unsettled, `of ${all} was`, `of ${all} were`)} not settled in time${reason}`,
    };
  }
  const [first] = records;
  if (first === undefined || first.is !== 'unreadable' || records.some(({ is }) => is !== 'unreadable'))
    return { status: 204 };
  return { status: 422, error: `${name}: ${first.detail}; it is stored as a dead letter` };
}

/**
 * Responds to a client that is still sending. Closing a connection with unread input resets it, and the client can lose the response. So
 * the rest is read and dropped for up to `LINGER_MS`, as RFC 9112 §9.6 recommends.
 */
async function refuseBody(
  request: Request,
  response: ServerResponse,
  status: number,
  text: string,
): Promise<void> {
  const length = Buffer.byteLength(text);
  response.writeHead(status, { ...headersOf(status), Connection: 'close', 'Content-Length': length });
  response.write(text);
  const sent = new Promise<void>((resolve) => {
    request.once('close', resolve).resume();
  });
  await Promise.race([sent, sleep(LINGER_MS)]);
  response.end();
}

function portOf(given: string | undefined): number {
  if (given === undefined || given === '') return PORT;
  const port = /^\d{1,5}$/.test(given) ? Number(given) : 0;
  if (port >= 1 && port <= 65_535) return port;
  throw new TollwayError('bad_settings', `PORT: expected a port of 1–65535, got "${given}"`);
}

if (import.meta.main) {
  await runProcess(async (onShutdown) => {
    // Wrong settings end the process before it listens, so that the platform does not consider it ready.
    await runtime.open();
    const server = createServer((request, response) => void handle(request, response));
    const port = await listen(server, portOf(process.env.PORT), '0.0.0.0', 'PORT');
    process.stdout.write(`${name}: listening on port ${port} for CloudEvents\n`);
    onShutdown({
      name: 'public port',
      close: () =>
        new Promise((resolve) => {
          server.close(() => resolve());
          server.closeIdleConnections();
        }),
    });
  }, name);
}
