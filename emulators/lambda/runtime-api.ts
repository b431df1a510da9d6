import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

/** An error as Lambda shows it to who has invoked the function. */
export type LambdaError = {
  readonly errorType: string;
  readonly errorMessage: string;
  readonly stackTrace: readonly string[];
};

/** What an invocation ends with: what the handler has returned, through JSON, or what went wrong. */
export type LambdaResult = { readonly answer: unknown } | { readonly error: LambdaError };

export type LambdaEvent = {
  readonly requestId: string;
  readonly functionArn: string;
  /** In ms since 1970. */
  readonly deadlineMs: number;
  readonly payload: string;
};

/** One process's side of https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html: no other ever asks it. */
export type RuntimeApi = {
  /** Host and port, for AWS_LAMBDA_RUNTIME_API. */
  readonly address: string;
  /** When the process first asked for an event, on the clock of `performance.now()`; null before. */
  readonly firstNextAt: () => number | null;
  /** Resolves when the process waits for an event: at once, if it does. Resolves to the error it has failed to start with. */
  readonly waitForNext: () => Promise<LambdaError | null>;
  /** Hands an event to the process, which has to be waiting for it; resolves when that one has answered. */
  readonly deliver: (event: LambdaEvent) => Promise<LambdaResult>;
  /** Leaves whoever waits for an answer without one. */
  readonly close: () => Promise<void>;
};

/** Of an event and of an answer; see https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html. */
export const PAYLOAD_BYTES_MAX = 6 * 1_048_576;

const VERSION = '/2018-06-01';
const ACCEPTED = { status: 202, body: { status: 'OK' } };
const TRACE_ID = 'Root=1-00000000-000000000000000000000000;Parent=0000000000000000;Sampled=0';

type Reply = { readonly status: number; readonly body: object };
type Invocation = { readonly requestId: string; readonly settle: (result: LambdaResult) => void };

/**
 * The process asks for its `next` event, and hangs in that request until there is one; it posts a `response` or an `error`
 * for it, and asks again. One that cannot start posts an init error instead, and ends.
 */
export async function openRuntimeApi(): Promise<RuntimeApi> {
  let firstNextAt: number | null = null;
  let waiting: ServerResponse | null = null;
  let invocation: Invocation | null = null;
  let ready = Promise.withResolvers<LambdaError | null>();

  const takeNext = (response: ServerResponse): void => {
    firstNextAt ??= performance.now();
    waiting = response;
    // A process that ends while it waits is not waiting any more.
    response.once('close', () => {
      if (waiting !== response) return;
      waiting = null;
      ready = Promise.withResolvers();
    });
    ready.resolve(null);
  };

  const settle = (requestId: string, result: LambdaResult): Reply => {
    if (invocation?.requestId !== requestId) return refusal(400, 'InvalidRequestID', 'Invalid request ID');
    invocation.settle(result);
    invocation = null;
    return ACCEPTED;
  };

  const answer = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const path = request.url ?? '';
    if (request.method === 'GET' && path === `${VERSION}/runtime/invocation/next`) {
      if (invocation === null) takeNext(response);
      else send(response, refusal(403, 'InvalidStateTransition', 'Transition from Running to Ready'));
      return;
    }
    const body = await textOf(request);
    if (path === `${VERSION}/runtime/init/error`) {
      ready.resolve(parseError(body));
      send(response, ACCEPTED);
      return;
    }
    const [, requestId = '', kind] = /^\/2018-06-01\/runtime\/invocation\/([^/]+)\/(\w+)$/.exec(path) ?? [];
    if (kind === 'error') send(response, settle(requestId, { error: parseError(body) }));
    else if (kind !== 'response') send(response, refusal(404, 'NotFound', path));
    else if (Buffer.byteLength(body) <= PAYLOAD_BYTES_MAX)
      send(response, settle(requestId, { answer: JSON.parse(body) }));
    else {
      settle(requestId, { error: tooLarge() });
      send(response, refusal(413, 'RequestEntityTooLarge', tooLarge().errorMessage));
    }
  };

  // The process keeps one connection, however long it works: only it may close it.
  const server = createServer({ keepAliveTimeout: 0, requestTimeout: 0 }, (request, response) => {
    // A request that breaks off is of a process that ends, of which others hear in their own ways.
    answer(request, response).catch(() => response.destroy());
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  // A server that listens on a port has an address of this kind.
  const { port } = server.address() as AddressInfo;
  return {
    address: `127.0.0.1:${port}`,
    firstNextAt: () => firstNextAt,
    waitForNext: () => ready.promise,
    deliver: ({ requestId, functionArn, deadlineMs, payload }) => {
      if (waiting === null) throw new Error('Expected a process that waits for an event');
      const { promise, resolve } = Promise.withResolvers<LambdaResult>();
      invocation = { requestId, settle: resolve };
      const response = waiting;
      waiting = null;
      ready = Promise.withResolvers();
      response.writeHead(200, {
        // Without it the client ends in SIGSEGV.
        'Content-Type': 'application/json',
        'Content-Length': Buffer.byteLength(payload),
        'Lambda-Runtime-Aws-Request-Id': requestId,
        'Lambda-Runtime-Deadline-Ms': deadlineMs,
        'Lambda-Runtime-Invoked-Function-Arn': functionArn,
        'Lambda-Runtime-Trace-Id': TRACE_ID,
      });
      response.end(payload);
      return promise;
    },
    close: async () => {
      const closed = once(server, 'close');
      server.close();
      server.closeAllConnections();
      await closed;
    },
  };
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

/** The client calls the lines of the stack `trace`; Lambda shows them as `stackTrace`, and so does the document. */
function parseError(body: string): LambdaError {
  const { errorType, errorMessage, stackTrace, trace } = JSON.parse(body);
  return { errorType, errorMessage, stackTrace: stackTrace ?? trace ?? [] };
}
