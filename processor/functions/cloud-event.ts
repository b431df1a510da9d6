import { createHash, randomUUID } from 'node:crypto';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { counted } from '../../common/counted.ts';
import { errorCode, errorMessage, TollwayError } from '../../common/errors.ts';
import { runProcess, sleep } from '../../common/process.ts';
import { listen } from '../../common/telemetry/operations-server.ts';
import type { ReadRecord } from '../../contract/click-event.ts';
import { readCloudEvents } from '../events/cloud-events.ts';
import { MemoryBound, type MemoryPart, readBody } from '../events/http-body.ts';
import { FunctionRuntime } from './function-runtime.ts';

const name = 'cloud-event';
const runtime = new FunctionRuntime(name, process.env);
/** Largest body, in bytes; brokers send far less at once. */
const BODY_BYTES_MAX = 16_777_216;
/** Memory that the requests at work may take together, in bytes; the sender of one more is told to come again. */
const HELD_BYTES_MAX = 67_108_864;
/** What an event takes in memory beside its bytes, roughly: many small ones take more than their bytes. */
const EVENT_BYTES = 1_024;
/** How long what is left of a refused body is read and dropped, in ms. */
const LINGER_MS = 2_000;
const memory = new MemoryBound(HELD_BYTES_MAX);
/** Where it listens as a process without `PORT`; https://knative.dev/docs/serving/services/ */
const PORT = 8080;

type Request = IncomingMessage & { readonly rawBody?: Buffer };
/** What a request is answered, and why, where it is an error. */
type Answer = { readonly status: number; readonly error?: string };

/**
 * Charges the CloudEvents of a request: an HTTP function as Knative and the Functions Framework take it. 204 only after the
 * commit; 422 where all that came is no click and is kept as dead letters; 413 and 415 for what is refused and not kept; 503 for
 * what has to be sent again. Never rejects.
 */
export async function handle(request: Request, response: ServerResponse): Promise<void> {
  const part = memory.open();
  const { status, error } = await answerTo(request, part).finally(part.release);
  const text = error === undefined ? undefined : JSON.stringify({ error });
  if (request.readableEnded || request.rawBody !== undefined || status === 200) {
    response.writeHead(status, headersOf(status)).end(text);
  } else await refuseBody(request, response, status, text ?? '');
}

function headersOf(status: number): Record<string, string> {
  return status === 503 ? { 'Retry-After': '1' } : {};
}

async function answerTo(request: Request, part: MemoryPart): Promise<Answer> {
  if (request.method === 'GET' && request.url === '/healthz') return { status: 200 };
  if (request.method !== 'POST')
    return { status: 405, error: `${name}: expected POST, got ${request.method}` };
  if (request.rawBody === undefined && request.readableDidRead) {
    // It would look empty: no click, for good.
    return {
      status: 503,
      error: `${name}: The request body was already consumed. Pass it in rawBody`,
    };
  }
  const encoding = request.headers['content-encoding'] ?? 'identity';
  // A framework that hands over `rawBody` has unpacked it.
  if (request.rawBody === undefined && encoding !== 'identity')
    return {
      status: 415,
      error: `${name}: content-encoding: expected none, got ${JSON.stringify(encoding)}`,
    };
  const body = await readBody(request, BODY_BYTES_MAX, part);
  if (body === 'too_large')
    return { status: 413, error: `${name}: expected at most ${BODY_BYTES_MAX} bytes` };
  if (body === 'no_room') return NO_ROOM;
  if (body === 'cut_off')
    return { status: 400, error: `${name}: expected a whole body, got one that was cut off` };
  try {
    return await charge(request, body, part);
  } catch (error) {
    return { status: 503, error: errorMessage(error) };
  }
}

const NO_ROOM: Answer = {
  status: 503,
  error: `${name}: The function is at capacity; send the request again later`,
};

async function charge(request: Request, body: Buffer, part: MemoryPart): Promise<Answer> {
  const hash = createHash('sha256').update(body).digest('hex').slice(0, 16);
  let records: ReadRecord[];
  try {
    records = readCloudEvents(name, request.headers, body, `request ${hash}`);
  } catch (error) {
    if (errorCode(error) === 'bad_event') return { status: 415, error: errorMessage(error) };
    if (errorCode(error) === 'too_many_events') return { status: 413, error: errorMessage(error) };
    throw error;
  }
  if (!part.take(records.length * EVENT_BYTES)) return NO_ROOM;
  const settled = await runtime.settle(records, { id: randomUUID(), deadlineAt: null });
  const open = records.length - settled;
  if (open > 0) {
    const why = runtime.problem === null ? '' : `: ${runtime.problem}`;
    const all = counted(records.length, 'event');
    return {
      status: 503,
      error: `${name}: ${counted(open, `of ${all} was`, `of ${all} were`)} not settled in time${why}`,
    };
  }
  const [first] = records;
  if (first === undefined || first.is !== 'unreadable' || records.some(({ is }) => is !== 'unreadable'))
    return { status: 204 };
  return { status: 422, error: `${name}: ${first.detail}; it is kept as a dead letter` };
}

/**
 * Answers a sender that is still sending. Input that nobody has read turns a close into a reset, by which the sender may lose the answer:
 * so it is read and dropped for a while, as RFC 9112 §9.6 asks for.
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
    // A process that could never charge anything says so and ends, and no platform takes it for ready.
    await runtime.open();
    const server = createServer((request, response) => void handle(request, response));
    const port = await listen(server, portOf(process.env.PORT), '0.0.0.0', 'PORT');
    process.stdout.write(`${name}: charging what is posted to port ${port}\n`);
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
