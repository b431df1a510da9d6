import type { ChildProcess } from 'node:child_process';
import { join } from 'node:path';
import type { Bench, BenchContext } from './bench.ts';
import { request } from './child-port.ts';
import { findNginx, startNginx } from './nginx-server.ts';
import { canPin, pinned } from './pinned.ts';
import type {
  ClientRequest,
  ClientResponse,
  ServerKind,
  ServerRequest,
  ServerStarted,
  Usage,
} from './redirect-protocol.ts';
import { type BenchResult, compareRounds, median, round } from './result.ts';

const CONNECTIONS = 64;
/** Number of different links, large enough that none repeats within the double-click window. */
const LINKS = 100_000;
const WARM_UP_MS = 3_000;
const ROUND_MS = 2_000;
const SERVER_CORE = 0;
const CLIENT_CORE = 1;
const BAR = 0.75;
const RELAY_BAR = 0.6;
const NGINX_BAR = 0.4;
/** CPU usage of a saturated server, in cores. Below it, the client or the machine was the bottleneck. */
const SATURATED_MIN = 0.9;
const NODE_KINDS: readonly ServerKind[] = ['bare', 'spool', 'relay'];
/** The end of an answer: an empty line, because answers of Node servers have no body. nginx's answers have one. */
const ANSWER_END = '\r\n\r\n';
const NGINX_ANSWER_END = '</html>\r\n';

type Kind = ServerKind | 'nginx';
type Server = {
  readonly port: number;
  readonly linksPath: string;
  readonly answerEnd: string;
  readonly usage: () => Usage | Promise<Usage>;
};
type Measured = { readonly rate: number; readonly serverCpu: number; readonly clientCpu: number };
type Rounds = ReadonlyMap<Kind, readonly Measured[]>;

/** Redirects per second of the ad server with a durable spool, against a bare `node:http` and against nginx, on the same core. */
export const benchRedirect: Bench = async (context) => {
  const servers = await startServers(context);
  // Started after the servers, so that it is stopped before them.
  const client = context.resources.child(
    pinned(CLIENT_CORE, join(import.meta.dirname, 'redirect-client.ts')),
  );
  for (const server of servers.values()) await measure(client, server, WARM_UP_MS);
  const rounds = await measureRounds(client, servers, context);
  const results = [
    compareKinds('redirect', rounds, {
      kind: 'spool',
      reference: 'bare',
      bar: BAR,
      what: 'spool with SPOOL_SYNC=os, without a relay (complete segments are deleted)',
    }),
    compareKinds('redirect-relay', rounds, {
      kind: 'relay',
      reference: 'bare',
      bar: RELAY_BAR,
      what: 'the same with a relay whose publisher discards all clicks',
    }),
  ];
  if (!servers.has('nginx')) {
    context.progress.say('redirect-nginx is skipped: nginx is not installed');
    return results;
  }
  const nginx = compareKinds('redirect-nginx', rounds, {
    kind: 'relay',
    reference: 'nginx',
    bar: NGINX_BAR,
    what: 'with a relay, against nginx `return 302` without an access log',
  });
  return [...results, nginx];
};

async function startServers({ resources }: BenchContext): Promise<Map<Kind, Server>> {
  const folder = resources.folder();
  const servers = new Map<Kind, Server>();
  for (const kind of NODE_KINDS) {
    const child = resources.child(pinned(SERVER_CORE, join(import.meta.dirname, 'redirect-server.ts')));
    const start: ServerRequest = { request: 'start', kind, folder, links: LINKS };
    const started = await request<ServerStarted>(child, start);
    const usage = () => request<Usage>(child, { request: 'usage' });
    servers.set(kind, { ...started, answerEnd: ANSWER_END, usage });
  }
  const program = findNginx();
  const linksPath = servers.get('bare')?.linksPath;
  if (program !== null && linksPath !== undefined) {
    const nginx = await startNginx(program, SERVER_CORE, resources);
    servers.set('nginx', { ...nginx, linksPath, answerEnd: NGINX_ANSWER_END });
  }
  return servers;
}

async function measureRounds(
  client: ChildProcess,
  servers: ReadonlyMap<Kind, Server>,
  { progress, rounds }: BenchContext,
): Promise<Rounds> {
  const measured = new Map<Kind, Measured[]>([...servers.keys()].map((kind) => [kind, []]));
  for (let round = 0; round < rounds; round += 1) {
    // Alternating order, so that drift affects all servers equally.
    for (const [kind, server] of round % 2 === 0 ? [...servers] : [...servers].reverse()) {
      progress.show(`redirect: round ${round + 1} of ${rounds}, ${kind}`);
      measured.get(kind)?.push(await measure(client, server, ROUND_MS));
    }
  }
  return measured;
}

async function measure(client: ChildProcess, server: Server, ms: number): Promise<Measured> {
  const { port, linksPath, answerEnd } = server;
  const run: ClientRequest = { port, linksPath, connections: CONNECTIONS, ms, answerEnd };
  const before = await server.usage();
  const { answers, seconds, cpuMicros, wrong } = await request<ClientResponse>(client, run);
  const after = await server.usage();
  if (wrong > 0)
    throw new Error(`Expected ${answers} redirects of recorded clicks, got ${wrong} other answers`);
  return {
    rate: answers / seconds,
    serverCpu: (after.cpuMicros - before.cpuMicros) / 1e6 / seconds,
    clientCpu: cpuMicros / 1e6 / seconds,
  };
}

function compareKinds(
  name: string,
  rounds: Rounds,
  { kind, reference, bar, what }: { kind: Kind; reference: Kind; bar: number; what: string },
): BenchResult {
  const ours = rounds.get(kind) ?? [];
  const theirs = rounds.get(reference) ?? [];
  const cores = canPin
    ? 'one server at a time on core 0, the client on core 1'
    : 'NOT pinned to cores, because taskset is missing';
  // nginx needs less CPU for an answer than the client for a request, so its rate would be the client's.
  const byCpu = reference === 'nginx' && theirs.every(({ serverCpu }) => serverCpu > 0);
  const rateOf = (one: Measured | undefined) => (one ? one.rate / (byCpu ? one.serverCpu : 1) : 0);
  const result = compareRounds(
    name,
    byCpu ? 'redirects/CPU s' : 'redirects/s',
    bar,
    ours.map((one, index) => ({ ours: rateOf(one), reference: rateOf(theirs[index]) })),
    [`${what}; ${CONNECTIONS} connections; ${cores}`, ...usageNotes(ours, reference, theirs, byCpu)],
  );
  const cpuMicros = {
    ours: { 'ad server': round(microsOf(ours)) },
    reference: { [reference]: round(microsOf(theirs)) },
  };
  return { ...result, cpuMicros };
}

/** CPU time of a server for a redirect, in µs. */
function microsOf(measured: readonly Measured[]): number {
  return median(measured.map(({ serverCpu, rate }) => (serverCpu / rate) * 1e6));
}

function usageNotes(
  ours: readonly Measured[],
  reference: Kind,
  theirs: readonly Measured[],
  byCpu: boolean,
): string[] {
  const cpu = (of: readonly Measured[]) =>
    `server ${median(of.map(({ serverCpu }) => serverCpu)).toFixed(2)}, client ${median(of.map(({ clientCpu }) => clientCpu)).toFixed(2)}`;
  const rate = (of: readonly Measured[]) => median(of.map((one) => one.rate)).toFixed(0);
  const usage = [
    `cores used: ours ${cpu(ours)}; ${reference} ${cpu(theirs)}`,
    `ratio by CPU time of the servers ${(microsOf(theirs) / microsOf(ours)).toFixed(2)}`,
  ];
  if (byCpu) return [...usage, `rate with this client: ours ${rate(ours)}/s, ${reference} ${rate(theirs)}/s`];
  const servers = [
    ['our', ours],
    [`the ${reference}`, theirs],
  ] as const;
  const warnings = servers
    .filter(([, measured]) => median(measured.map(({ serverCpu }) => serverCpu)) < SATURATED_MIN)
    .map(([name]) => `WARNING: ${name} server was not saturated; the client or the machine limited its rate`);
  return [...usage, ...warnings];
}
