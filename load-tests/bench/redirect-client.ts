/**
 * The lean client of the redirect bench: raw sockets that are kept alive, one request in flight on each, so that
 * it needs less of its core than any HTTP server does and the server is what is measured.
 */
import { readFileSync } from 'node:fs';
import { connect } from 'node:net';
import { BROWSER_HEADERS } from '../load/traffic.ts';
import { serveRequests } from './child-port.ts';
import { type ClientRequest, type ClientResponse, usage } from './redirect-protocol.ts';

const links = new Map<string, Buffer[]>();

serveRequests(async (question: ClientRequest): Promise<ClientResponse> => {
  const requests = requestsOf(question.linksPath);
  const before = usage();
  const startedAt = performance.now();
  const until = startedAt + question.ms;
  const drivers = Array.from({ length: question.connections }, (_, index) =>
    runConnection(question, requests, Math.floor((index * requests.length) / question.connections), until),
  );
  const done = await Promise.all(drivers);
  return {
    answers: done.reduce((sum, { answers }) => sum + answers, 0),
    wrong: done.reduce((sum, { wrong }) => sum + wrong, 0),
    seconds: (performance.now() - startedAt) / 1_000,
    cpuMicros: usage().cpuMicros - before.cpuMicros,
  };
});

/** The requests of a file of paths, as bytes that are ready to go. */
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

/** One connection: asks, waits for the answer, asks again, until the time is over. */
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
    let part = '';
    const socket = connect({ port, host: '127.0.0.1', noDelay: true });
    const request = () => {
      const bytes = requests[at % requests.length];
      at += 1;
      if (bytes) socket.write(bytes);
    };
    socket.on('connect', request);
    socket.on('data', (bytes) => {
      const text = part + bytes.toString('latin1');
      if (!text.endsWith(answerEnd)) {
        part = text;
        return;
      }
      part = '';
      answers += 1;
      if (!text.startsWith('HTTP/1.1 302') || text.includes('Tollway-Click: none')) wrong += 1;
      if (performance.now() < until) request();
      else socket.destroy();
    });
    socket.on('error', reject);
    socket.on('close', () => resolve({ answers, wrong }));
  });
}
