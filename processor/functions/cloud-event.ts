import { createHash, randomUUID } from 'node:crypto';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { errorMessage, TollwayError } from '../../common/errors.ts';
import { runProcess, sleep } from '../../common/lifecycle.ts';
import { listen } from '../../common/ops-server.ts';
import type { ReadRecord } from '../../producer/click-event.ts';
import { readCloudEvents } from '../events/cloud-events.ts';
import { FunctionHome } from '../function-home.ts';

const name = 'cloud-event';
const home = new FunctionHome(name, process.env);
/** Largest body, in bytes; brokers send far less at once. */
const BODY_BYTES_MAX = 16_777_216;
/** Most bytes of bodies that are held at once; who comes then is told to come again. */
const HELD_BYTES_MAX = 67_108_864;
/** How long what is left of a body that is too large is read and dropped, in ms. */
const LINGER_MS = 2_000;
/** What a body is taken for that does not say how long it is. */
const UNDECLARED_BYTES = 1_048_576;
let heldBytes = 0;
/** Where it listens as a process without `PORT`; https://knative.dev/docs/serving/services/ */
const PORT = 8080;

/**
 * Charges the CloudEvents of a request: an HTTP function as Knative and the Functions Framework take it. 204 only after the
 * commit; 422 where all that came is no click and lies with the dead letters; 503 for what has to be sent again.
 */
export async function handle(
  request: IncomingMessage & { rawBody?: Buffer },
  response: ServerResponse,
): Promise<void> {
  const answer = (status: number, error?: string) => {
    response.writeHead(status, status === 503 ? { 'Retry-After': '1' } : {});
    response.end(error === undefined ? undefined : JSON.stringify({ error }));
  };
  if (request.method === 'GET' && request.url === '/healthz') return answer(200);
  if (request.method !== 'POST') return answer(405, `${name}: expected POST, got ${request.method}`);
  if (request.rawBody === undefined && request.readableDidRead) {
    // It would look empty: no click, for good.
    return answer(503, `${name}: expected the body unread, or in rawBody; something before this has read it`);
  }
  const declaredBytes = Number(request.headers['content-length'] ?? UNDECLARED_BYTES);
  const tooLarge = () => refuseBody(request, response, `${name}: expected at most ${BODY_BYTES_MAX} bytes`);
  if (declaredBytes > BODY_BYTES_MAX) return tooLarge();
  if (heldBytes + declaredBytes > HELD_BYTES_MAX)
    return answer(503, `${name}: too much is being charged at once`);
  heldBytes += declaredBytes;
  try {
    await charge(request, { answer, tooLarge });
  } finally {
    heldBytes -= declaredBytes;
  }
}

type Answers = { answer: (status: number, error?: string) => void; tooLarge: () => Promise<void> };

async function charge(
  request: IncomingMessage & { rawBody?: Buffer },
  { answer, tooLarge }: Answers,
): Promise<void> {
  let records: ReadRecord[];
  try {
    const body = request.rawBody ?? (await bodyOf(request));
    if (body === null) return tooLarge();
    const hash = createHash('sha256').update(body).digest('hex').slice(0, 16);
    records = readCloudEvents(name, request.headers, body, `request ${hash}`);
  } catch (error) {
    return answer(415, errorMessage(error));
  }
  try {
    const settled = await home.settle(records, { id: randomUUID(), deadlineAt: null });
    const open = records.length - settled;
    if (open > 0) {
      const why = home.problem === null ? '' : `: ${home.problem}`;
      return answer(503, `${name}: ${open} of ${records.length} events were not settled in time${why}`);
    }
  } catch (error) {
    return answer(503, errorMessage(error));
  }
  const [first] = records;
  if (first === undefined || records.some(({ is }) => is !== 'unreadable')) return answer(204);
  return answer(
    422,
    `${name}: ${first.is === 'unreadable' ? first.detail : ''}; it lies with the dead letters`,
  );
}

/**
 * Says 413 to who is still sending. Input that nobody has read turns a close into a reset, by which the sender may lose the answer:
 * so it is read and dropped for a while, as RFC 9112 §9.6 asks for.
 */
async function refuseBody(request: IncomingMessage, response: ServerResponse, error: string): Promise<void> {
  const said = JSON.stringify({ error });
  response.writeHead(413, { Connection: 'close', 'Content-Length': Buffer.byteLength(said) });
  response.write(said);
  const sent = new Promise<void>((resolve) => {
    request.once('close', resolve).resume();
  });
  await Promise.race([sent, sleep(LINGER_MS)]);
  response.end();
}

async function bodyOf(request: IncomingMessage): Promise<Buffer | null> {
  const chunks: Buffer[] = [];
  let length = 0;
  // Left open when it is left early: the answer goes out by the same socket.
  for await (const chunk of request.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
    length += chunk.length;
    if (length > BODY_BYTES_MAX) return null;
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

function portOf(given: string | undefined): number {
  if (given === undefined || given === '') return PORT;
  const port = /^\d{1,5}$/.test(given) ? Number(given) : 0;
  if (port >= 1 && port <= 65_535) return port;
  throw new TollwayError('bad_settings', `PORT: expected a port of 1–65535, got "${given}"`);
}

if (import.meta.main) {
  await runProcess(async (open) => {
    // A process that could never charge anything says so and ends, and no platform takes it for ready.
    await home.open();
    const server = createServer((request, response) => void handle(request, response));
    const port = await listen(server, portOf(process.env.PORT), '0.0.0.0', 'public');
    process.stdout.write(`${name}: charging what is posted to port ${port}\n`);
    open({
      name: 'public port',
      close: () =>
        new Promise((resolve) => {
          server.close(() => resolve());
          server.closeIdleConnections();
        }),
    });
  }, name);
}
