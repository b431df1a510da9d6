import { once } from 'node:events';
import { connect, type Socket } from 'node:net';

/** One response as it was received. */
export type RawAnswer = {
  readonly status: number;
  /** Names in lower case; each header once. */
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
};

/** Opens a connection that sends bytes exactly as they are given. */
export async function rawConnection(port: number): Promise<Socket> {
  const socket = connect({ port, host: '127.0.0.1', noDelay: true });
  await once(socket, 'connect');
  return socket;
}

/** Sends bytes on a new connection and reads until the server closes it. The request must have `Connection: close`. */
export async function exchange(port: number, bytes: string | Buffer): Promise<RawAnswer[]> {
  const socket = await rawConnection(port);
  socket.write(typeof bytes === 'string' ? Buffer.from(bytes, 'latin1') : bytes);
  return readToEnd(socket);
}

/** Reads every response until the server closes the connection. `methods` has the methods of the requests: a response to `HEAD` has no body. */
export async function readToEnd(socket: Socket, methods: readonly string[] = []): Promise<RawAnswer[]> {
  const chunks: Buffer[] = [];
  socket.on('data', (chunk: Buffer) => chunks.push(chunk));
  await new Promise<void>((resolve) => {
    socket.once('close', () => resolve());
    // A server that refuses a request before it has read all of it can reset the connection after its response.
    socket.once('error', () => resolve());
  });
  return parseAnswers(Buffer.concat(chunks).toString('latin1'), methods);
}

/** Splits a stream of responses by their lengths. */
export function parseAnswers(stream: string, methods: readonly string[] = []): RawAnswer[] {
  const answers: RawAnswer[] = [];
  for (let rest = stream; rest !== ''; ) {
    const end = rest.indexOf('\r\n\r\n');
    const [statusLine = '', ...lines] = rest.slice(0, end).split('\r\n');
    const match = /^HTTP\/1\.1 (\d{3}) /.exec(statusLine);
    if (end < 0 || !match)
      throw new Error(`Expected an HTTP answer, got ${JSON.stringify(rest.slice(0, 200))}`);
    const headers = Object.fromEntries(lines.map((line) => line.split(/: (.*)/, 2))) as Record<
      string,
      string
    >;
    const lower = Object.fromEntries(
      Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value]),
    );
    const length = methods[answers.length] === 'HEAD' ? 0 : Number(lower['content-length'] ?? 0);
    const from = end + 4;
    // Node's own response to a request without a host has an empty chunked body.
    const trailer = lower['transfer-encoding'] === 'chunked' ? '0\r\n\r\n'.length : 0;
    answers.push({ status: Number(match[1]), headers: lower, body: rest.slice(from, from + length) });
    rest = rest.slice(from + length + trailer);
  }
  return answers;
}

/** The text of a `GET` without a body. */
export function get(path: string, more = 'Connection: close\r\n'): string {
  return `GET ${path} HTTP/1.1\r\nHost: go.example\r\nUser-Agent: Mozilla/5.0 (X11) Firefox/142.0\r\n${more}\r\n`;
}
