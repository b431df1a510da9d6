/** The ad server with its HTTP front and the one without, and conversations with both that must not differ. */
import { once } from 'node:events';
import type { IncomingMessage, Server } from 'node:http';
import { connect } from 'node:net';
import { type Duplex, duplexPair } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { onTestFinished } from 'vitest';
import { createErrorPages } from '../../ad-server/http/error-pages.ts';
import { createAdServer } from '../../ad-server/http/server.ts';
import { createVisitorAddress } from '../../ad-server/http/visitor.ts';
import { DoubleClicks } from '../../ad-server/redirect/double-clicks.ts';
import { createAgentJudge } from '../../ad-server/redirect/invalid-traffic.ts';
import { createRedirect } from '../../ad-server/redirect/redirect.ts';
import { parseConfig } from '../../common/config/config.ts';
import { createMetrics, type Metrics } from '../../common/telemetry/metrics.ts';
import { listen } from '../../common/telemetry/operations-server.ts';
import { createVerifier } from '../../contract/link-token.ts';
import { DAY_MS, k1 } from './link-samples.ts';
import { sampleAd } from './redirect-fixture.ts';

/** What a visitor sends: chunks of bytes, one after the other. When nothing more comes back, it ends its side. */
export type Conversation = readonly Buffer[];

/** What a conversation leads to. Ids and times are replaced, because they differ. */
export type Outcome = {
  readonly received: string;
  readonly events: readonly string[];
  readonly answers: readonly string[];
  /** Whether the server has closed the connection, before and after the visitor ended its side. */
  readonly isClosed: readonly [before: boolean, after: boolean];
};

type Log = { readonly events: string[]; readonly answers: string[]; requests: number };
type Side = {
  readonly server: Server;
  readonly port: number;
  readonly metrics: Metrics;
  readonly logOf: (peer: string) => Log;
  readonly forget: (peer: string) => void;
};

/** How connections are made: in memory, which is fast, or by TCP over the loopback interface. */
export type Transport = 'memory' | 'tcp';

const MINUTE_MS = 60_000;
const CLICK_ID = /[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}/g;

/** Starts both servers. `recordTurns` returns after how many turns of the event loop a click is recorded. */
export async function frontPair() {
  const sides = [await startSide(true), await startSide(false)] as const;
  let peers = 0;
  return {
    sides,
    /** Holds each conversation with both servers. Returns the outcomes, and how many requests of each one node:http answered. */
    compare: async (conversations: readonly Conversation[], transport: Transport) => {
      const held = await Promise.all(
        conversations.map(async (conversation) => {
          peers += 1;
          // Each conversation has an address of its own in 127.0.0.0/8, by which its events are found.
          const peer = `127.${1 + ((peers >> 16) % 250)}.${(peers >> 8) & 255}.${peers & 255}`;
          const both = sides.map((side) => hold(side, conversation, transport, peer));
          return { peer, both: await Promise.all(both) };
        }),
      );
      const progress = () => held.flatMap(({ both }) => both.map((one) => one.progress())).join();
      await settle(progress);
      for (const one of held.flatMap(({ both }) => both)) one.end();
      await settle(progress);
      return held.map(({ peer, both }) => {
        const [front, reference] = both.map(({ outcome }) => outcome());
        const [byFront, byReference] = sides.map((side) => side.logOf(peer));
        for (const { close } of both) close();
        const parsed = byFront?.requests ?? 0;
        const taken = byFront?.answers.length ?? 0;
        for (const side of sides) side.forget(peer);
        if (!front || !reference || !byReference) throw new Error('Expected two outcomes');
        return { front, reference, parsed, taken };
      });
    },
  };
}

async function startSide(front: boolean): Promise<Side> {
  const metrics = createMetrics();
  const logs = new Map<string, Log>();
  const logOf = (peer: string): Log => {
    const log = logs.get(peer) ?? { events: [], answers: [], requests: 0 };
    logs.set(peer, log);
    return log;
  };
  let current = logOf('');
  const redirect = createRedirect({
    verify: createVerifier([k1], 90 * DAY_MS),
    findAd: (adId) => (adId === 42 ? sampleAd({ passParameters: ['utm_*'] }) : undefined),
    visitorAddress: createVisitorAddress(parseConfig({ TRUSTED_PROXIES: '127.0.0.0/9' }).TRUSTED_PROXIES),
    judgeAgent: createAgentJudge().judge,
    doubleClicks: new DoubleClicks(0),
    elapsedMs: () => performance.now(),
    record: (encoded, recorded) => {
      current.events.push(encoded.replace(CLICK_ID, 'ID').replace(/"clickedAt":\d+/, '"clickedAt":0'));
      // The same for both servers: what the client gets can depend on it.
      runLater((encoded.length + current.events.length) % 3, () => recorded(1));
    },
    whenFull: 'redirect',
    metrics,
  });
  const made = createAdServer(
    (request, answer) => {
      const log = logOf(request.peer ?? '');
      current = log;
      redirect(request, (result) => {
        log.answers.push(result.is);
        answer(result);
      });
    },
    metrics,
    {
      connections: { max: 20_000, maxPerSource: Number.POSITIVE_INFINITY, isExempt: () => false },
      errorPages: createErrorPages(undefined),
      front,
    },
  );
  made.server.on('request', ({ socket }: IncomingMessage) => {
    logOf(socket.remoteAddress ?? '').requests += 1;
  });
  // A process that gets no CPU time for some seconds must not see time-outs, which the two servers notice at different times.
  made.server.headersTimeout = MINUTE_MS;
  made.server.requestTimeout = MINUTE_MS;
  const port = await listen(made.server, 0, '127.0.0.1', 'test');
  onTestFinished(() => {
    made.server.close();
    made.closeAllConnections();
  });
  return { server: made.server, port, metrics, logOf, forget: (peer) => void logs.delete(peer) };
}

/** Runs after some iterations of the event loop. */
function runLater(iterations: number, run: () => void): void {
  if (iterations === 0) run();
  else setImmediate(() => runLater(iterations - 1, run));
}

/** Sends a conversation to one server and collects what comes back. */
async function hold(side: Side, chunks: Conversation, transport: Transport, peer: string) {
  const client =
    transport === 'tcp' ? await connectFrom(peer, side.port) : connectInMemory(side.server, peer);
  const received: Buffer[] = [];
  let isClosed = false;
  let wasClosed = false;
  let bytes = 0;
  client.on('data', (chunk: Buffer) => {
    received.push(chunk);
    bytes += chunk.length;
  });
  client.on('error', () => {});
  const onEnd = () => {
    isClosed = true;
  };
  client.on('end', onEnd).on('close', onEnd);
  for (const chunk of chunks) {
    if (client.writable) client.write(chunk);
    // The server reads each chunk by itself.
    await new Promise((resolve) => setImmediate(resolve));
  }
  const { events, answers } = side.logOf(peer);
  return {
    progress: () => `${bytes} ${isClosed} ${events.length} ${answers.length}`,
    end: () => {
      wasClosed = isClosed;
      client.end();
    },
    outcome: (): Outcome => ({
      received: untilClosed(withoutContinue(Buffer.concat(received).toString('latin1')))
        .replace(CLICK_ID, 'ID')
        .replace(/Date: [^\r]*/g, 'Date: now')
        .replace(/<!doctype html>.*?<title>(.*?)<\/title>.*?<\/html>\n/gs, '<page "$1">'),
      events: [...events],
      // They can be ready in another order than they are sent.
      answers: answers.toSorted(),
      isClosed: [wasClosed, isClosed],
    }),
    close: () => client.destroy(),
  };
}

async function connectFrom(localAddress: string, port: number): Promise<Duplex> {
  const socket = connect({ port, host: '127.0.0.1', localAddress, noDelay: true });
  await once(socket, 'connect');
  return socket;
}

function connectInMemory(server: Server, peer: string): Duplex {
  const [client, accepted] = duplexPair();
  server.emit('connection', Object.assign(accepted, { remoteAddress: peer }));
  return client;
}

/** Waits until nothing has changed for a while. A server that closes a connection waits for timers of 1 ms. */
async function settle(progress: () => string): Promise<void> {
  let last = '';
  for (let same = 0; same < 4; same += 1) {
    await sleep(2);
    const now = progress();
    if (now !== last) same = -1;
    last = now;
  }
}

/** With an earlier response in progress, node:http sends `100 Continue` in the middle of a later one, between its headers and its body too. */
function withoutContinue(stream: string): string {
  return stream.replaceAll('HTTP/1.1 100 Continue\r\n\r\n', '');
}

/**
 * The responses up to the first one that closes the connection. Behind it, node:http refuses further bytes, or not if an earlier request is
 * still without an answer. Visitors ignore that (RFC 9112 §9.6).
 */
function untilClosed(stream: string): string {
  const closing = /^Connection: close\r\n/m.exec(stream);
  if (closing === null) return stream;
  const next = stream.indexOf('HTTP/1.1 ', closing.index);
  return next < 0 ? stream : stream.slice(0, next);
}
