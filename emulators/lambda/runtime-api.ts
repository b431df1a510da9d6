import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { type LambdaError, type LambdaEvent, type LambdaResult, RuntimeSession } from './runtime-session.ts';

/** The Runtime API for one process: https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html */
export type RuntimeApi = {
  /** Host and port, for AWS_LAMBDA_RUNTIME_API. */
  readonly address: string;
  /** Time of the first request for an event, on the clock of `performance.now()`; `null` before. */
  readonly firstNextAt: () => number | null;
  /** Resolves when the process waits for an event, or to its init error. */
  readonly waitForNext: () => Promise<LambdaError | null>;
  /** Sends an event to the waiting process and resolves to its result. Throws if the process is not waiting. */
  readonly send: (event: LambdaEvent) => Promise<LambdaResult>;
  /** Closes the server and all connections. Pending results never settle. */
  readonly close: () => Promise<void>;
};

/** Size limit of an event and of a response; see https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html. */
export const PAYLOAD_BYTES_MAX = 6 * 1_048_576;

const VERSION = '/2018-06-01';
const ACCEPTED = { status: 202, body: { status: 'OK' } };

type Reply = { readonly status: number; readonly body: object };

/** Starts the Runtime API for one process on a free port of 127.0.0.1. */
export async function openRuntimeApi(): Promise<RuntimeApi> {
  const session = new RuntimeSession();
  // The process keeps one connection for any time, so the server must not close it.
  const server = createServer({ keepAliveTimeout: 0, requestTimeout: 0 }, (request, response) => {
    // A request is aborted if the process ends. Callers detect that by the end of the process.
    answer(session, request, response).catch(() => response.destroy());
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  // The address of a listening TCP server has this type.
  const { port } = server.address() as AddressInfo;
  return {
    address: `127.0.0.1:${port}`,
    firstNextAt: () => session.firstNextAt,
    waitForNext: () => session.waitForNext(),
    send: (event) => session.send(event),
    close: async () => {
      const closed = once(server, 'close');
      server.close();
      server.closeAllConnections();
      await closed;
    },
  };
}

async function answer(
  session: RuntimeSession,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const path = request.url ?? '';
  if (request.method === 'GET' && path === `${VERSION}/runtime/invocation/next`) {
    if (!session.isInvoked) session.waitForEvent(response);
    else send(response, refusal(403, 'InvalidStateTransition', 'Transition from Running to Ready'));
    return;
  }
  send(response, replyTo(session, path, await textOf(request)));
}

function replyTo(session: RuntimeSession, path: string, body: string): Reply {
  if (path === `${VERSION}/runtime/init/error`) {
    session.failToStart(parseError(body));
    return ACCEPTED;
  }
  const [, requestId = '', kind] = /^\/2018-06-01\/runtime\/invocation\/([^/]+)\/(\w+)$/.exec(path) ?? [];
  const settle = (result: LambdaResult) =>
    session.settle(requestId, result) ? ACCEPTED : refusal(400, 'InvalidRequestID', 'Invalid request ID');
  if (kind === 'error') return settle({ error: parseError(body) });
  if (kind !== 'response') return refusal(404, 'NotFound', path);
  if (Buffer.byteLength(body) <= PAYLOAD_BYTES_MAX) return settle({ answer: JSON.parse(body) });
  settle({ error: tooLarge() });
  return refusal(413, 'RequestEntityTooLarge', tooLarge().errorMessage);
}

async function textOf(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk);
  return Buffer.concat(chunks).toString('utf8');
}

function send(response: ServerResponse, { status, body }: Reply): void {
  response.writeHead(status, { 'Content-Type': 'application/json' }).end(JSON.stringify(body));
}

function refusal(status: number, errorType: string, errorMessage: string): Reply {
  return { status, body: { errorType, errorMessage } };
}

function tooLarge(): LambdaError {
  return {
    errorType: 'Function.ResponseSizeTooLarge',
    errorMessage: `Response payload size exceeded maximum allowed payload size (${PAYLOAD_BYTES_MAX} bytes).`,
    stackTrace: [],
  };
}

/** Parses an error. The runtime client names the stack `trace`; Lambda and its documentation name it `stackTrace`. */
function parseError(body: string): LambdaError {
  const { errorType, errorMessage, stackTrace, trace } = JSON.parse(body);
  return { errorType, errorMessage, stackTrace: stackTrace ?? trace ?? [] };
}
