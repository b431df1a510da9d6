/**
 * The client of the redirect benchmark: raw keep-alive sockets with one request in flight on each. It needs less CPU than an HTTP server, so
 * that the server is the bottleneck.
 */
import { readFileSync } from 'node:fs';
import { connect } from 'node:net';
import { BROWSER_HEADERS } from '../load/traffic.ts';
import { serveRequests } from './child-port.ts';
import { type ClientRequest, type ClientResponse, usage } from './redirect-protocol.ts';

const links = new Map<string, Buffer[]>();

serveRequests(async (run: ClientRequest): Promise<ClientResponse> => {
  const requests = requestsOf(run.linksPath);
  const before = usage();
  const startedAt = performance.now();
  const until = startedAt + run.ms;
  const connections = Array.from({ length: run.connections }, (_, index) =>
    runConnection(run, requests, Math.floor((index * requests.length) / run.connections), until),
  );
  const done = await Promise.all(connections);
  return {
    answers: done.reduce((sum, { answers }) => sum + answers, 0),
    wrong: done.reduce((sum, { wrong }) => sum + wrong, 0),
    seconds: (performance.now() - startedAt) / 1_000,
    cpuMicros: usage().cpuMicros - before.cpuMicros,
  };
});

/** The encoded requests for the paths in a file, one per line. */
function requestsOf(path: string): Buffer[] {
  const known = links.get(path);
  if (known) return known;
  const headers = Object.entries({ host: '127.0.0.1', connection: 'keep-alive', ...BROWSER_HEADERS });
  const tail = headers.map(([name, value]) => `${name}: ${value}\r\n`).join('');
  const requests = readFileSync(path, 'latin1')
    .trim()
    .split('\n')
    .map((line) => Buffer.from(`GET ${line} HTTP/1.1\r\n${tail}\r\n`, 'latin1'));
  links.set(path, requests);
  return requests;
}

/** Sends requests on one connection, one after the other, until the time is over. */
function runConnection(
  { port, answerEnd }: ClientRequest,
  requests: readonly Buffer[],
  first: number,
  until: number,
): Promise<{ answers: number; wrong: number }> {
  return new Promise((resolve, reject) => {
    let at = first;
    let answers = 0;
    let wrong = 0;
    let incomplete = '';
    const socket = connect({ port, host: '127.0.0.1', noDelay: true });
    const request = () => {
      const bytes = requests[at % requests.length];
      at += 1;
      if (bytes) socket.write(bytes);
    };
    socket.on('connect', request);
    socket.on('data', (bytes) => {
      const text = incomplete + bytes.toString('latin1');
      if (!text.endsWith(answerEnd)) {
        incomplete = text;
        return;
      }
      incomplete = '';
      answers += 1;
      if (!text.startsWith('HTTP/1.1 302') || text.includes('Tollway-Click: none')) wrong += 1;
      if (performance.now() < until) request();
      else socket.destroy();
    });
    socket.on('error', reject);
    socket.on('close', () => resolve({ answers, wrong }));
  });
}
