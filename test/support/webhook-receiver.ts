import { once } from 'node:events';
import { createServer, type IncomingHttpHeaders, type ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';

/** A request that a receiver got. */
export type Received = {
  readonly id: string;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
  /** The type of its event, and its data. */
  readonly type: string;
  readonly data: Readonly<Record<string, unknown>>;
  /** On the clock of `performance.now()`. */
  readonly at: number;
};

/** Answers a request. By default 204. */
export type Answer = (response: ServerResponse, request: Received) => void;

export type Receiver = {
  readonly url: string;
  readonly received: Received[];
  /** Requests in progress, and the most at the same time so far. */
  readonly load: { now: number; most: number };
  answer: Answer;
  readonly close: () => Promise<void>;
};

/** A real receiver of webhooks on a free port of this machine. It records what it gets, then answers. */
export async function startReceiver(
  answer: Answer = (response) => void response.writeHead(204).end(),
): Promise<Receiver> {
  const sockets = new Set<Socket>();
  const server = createServer(async (request, response) => {
    receiver.load.now += 1;
    receiver.load.most = Math.max(receiver.load.most, receiver.load.now);
    response.once('close', () => {
      receiver.load.now -= 1;
    });
    let body = '';
    try {
      for await (const chunk of request.setEncoding('utf8')) body += chunk;
    } catch {
      return;
    }
    // A body of another form fails the test by itself.
    const { type, data } = JSON.parse(body);
    const { headers } = request;
    const id = String(headers['webhook-id']);
    const got = { id, headers, body, type, data, at: performance.now() };
    receiver.received.push(got);
    receiver.answer(response, got);
  });
  server.on('connection', (socket) => {
    sockets.add(socket);
    socket.on('error', () => {});
    socket.once('close', () => sockets.delete(socket));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const receiver: Receiver = {
    url: `http://127.0.0.1:${port}/hook`,
    received: [],
    load: { now: 0, most: 0 },
    answer,
    close: async () => {
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, 'close');
    },
  };
  return receiver;
}
