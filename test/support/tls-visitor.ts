import type { IncomingHttpHeaders } from 'node:http';
import { Agent, request } from 'node:https';
import { BROWSER } from './stack.ts';

/** Where the visitor comes from, and the network that Tollway keeps of that address. Linux takes all of 127.0.0.0/8 as its own. */
export const VISITOR = '127.1.2.3';
export const VISITOR_NETWORK = '127.1.2.0/24';

export type TlsAnswer = {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
  /** Whether the connection had carried a request before. */
  readonly isReused: boolean;
};

type Options = {
  readonly method?: 'GET' | 'HEAD';
  readonly headers?: Readonly<Record<string, string>>;
  /** Keeps connections; without it each request has its own. */
  readonly agent?: Agent;
};

/** Sends a request to `https://localhost:<port>` from the visitor's address as a browser does, and checks the certificate against `ca`. */
export function askOverTls(
  ca: string,
  port: number,
  path: string,
  { method = 'GET', headers = {}, agent = new Agent({ keepAlive: false }) }: Options = {},
): Promise<TlsAnswer> {
  return new Promise((resolve, reject) => {
    const sent = request({
      host: '127.0.0.1',
      servername: 'localhost',
      localAddress: VISITOR,
      ca,
      agent,
      port,
      path,
      method,
      headers: { host: `localhost:${port}`, 'user-agent': BROWSER, ...headers },
    });
    sent.on('response', (response) => {
      let body = '';
      response.setEncoding('utf8').on('data', (text: string) => {
        body += text;
      });
      response.on('end', () =>
        resolve({
          status: response.statusCode ?? 0,
          headers: response.headers,
          body,
          isReused: sent.reusedSocket,
        }),
      );
    });
    sent.on('error', reject).end();
  });
}
