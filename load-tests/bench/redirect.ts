import type { ChildProcess } from 'node:child_process';
import { join } from 'node:path';
import type { Bench } from './bench.ts';
import { ask } from './child-port.ts';
import { canPin, pinned } from './pinned.ts';
import type {
  ClientAnswer,
  ClientQuestion,
  ServerKind,
  ServerQuestion,
  ServerStarted,
  Usage,
} from './redirect-protocol.ts';
import { compareRounds, median } from './result.ts';

const CONNECTIONS = 64;
/** Different links, so many that none comes twice within the window of the double click. */
const LINKS = 100_000;
const WARM_UP_MS = 3_000;
const ROUND_MS = 2_000;
const SERVER_CORE = 0;
const CLIENT_CORE = 1;
const BAR = 0.6;
/** Below this share of a core the server was waiting for somebody else. */
const SATURATED_MIN = 0.9;
const KINDS: readonly ServerKind[] = ['bare', 'spool', 'relay'];

type Server = ServerStarted & { readonly child: ChildProcess };
type Measured = { readonly rate: number; readonly serverCpu: number; readonly clientCpu: number };

/** Redirects a second of the ad server with its durable spool, against a bare `node:http` on the same core. */
export const benchRedirect: Bench = async ({ belongings, progress, rounds }) => {
  const folder = belongings.folder();
  const servers = new Map<ServerKind, Server>();
  for (const kind of KINDS) {
    const child = belongings.child(pinned(SERVER_CORE, join(import.meta.dirname, 'redirect-server.ts')));
    const question: ServerQuestion = { ask: 'start', kind, folder, links: LINKS };
    servers.set(kind, { child, ...(await ask<ServerStarted>(child, question)) });
  }
  // After the servers, so that it is ended before them.
  const client = belongings.child(pinned(CLIENT_CORE, join(import.meta.dirname, 'redirect-client.ts')));
  const of = (kind: ServerKind): Server => {
    const server = servers.get(kind);
    if (!server) throw new Error(`Expected a server of kind ${kind}`);
    return server;
  };
  for (const kind of KINDS) await measure(client, of(kind), WARM_UP_MS);

  const measured: Record<ServerKind, Measured[]> = { bare: [], spool: [], relay: [] };
  for (let round = 0; round < rounds; round += 1) {
    // Forth and back, so that what drifts falls on all alike.
    for (const kind of round % 2 === 0 ? KINDS : [...KINDS].reverse()) {
      progress.show(`redirect: round ${round + 1} of ${rounds}, ${kind}`);
      measured[kind].push(await measure(client, of(kind), ROUND_MS));
    }
  }
  const cores = canPin
    ? 'each server alone on core 0, the client on core 1'
    : 'NOT pinned to cores: taskset is not there';
  const result = (name: string, kind: 'spool' | 'relay', bar: number | null, what: string) =>
    compareRounds(
      name,
      'redirects/s',
      bar,
      measured[kind].map(({ rate }, index) => ({ ours: rate, reference: measured.bare[index]?.rate ?? 0 })),
      [`${what}; ${CONNECTIONS} connections; ${cores}`, ...usageNotes(kind, measured)],
    );
  return [
    result('redirect', 'spool', BAR, 'spool with SPOOL_SYNC=os, no relay (whole segments are deleted)'),
    result('redirect-relay', 'relay', null, 'the same with a relay that publishes to nowhere'),
  ];
};

async function measure(
  client: ChildProcess,
  { child, port, linksPath }: Server,
  ms: number,
): Promise<Measured> {
  const question: ClientQuestion = { port, linksPath, connections: CONNECTIONS, ms };
  const before = await ask<Usage>(child, { ask: 'usage' });
  const { answers, seconds, cpuMicros, wrong } = await ask<ClientAnswer>(client, question);
  const after = await ask<Usage>(child, { ask: 'usage' });
  if (wrong > 0) throw new Error(`Expected ${answers} recorded redirects, got ${wrong} other answers`);
  return {
    rate: answers / seconds,
    serverCpu: (after.cpuMicros - before.cpuMicros) / 1e6 / seconds,
    clientCpu: cpuMicros / 1e6 / seconds,
  };
}

function usageNotes(kind: 'spool' | 'relay', measured: Readonly<Record<ServerKind, Measured[]>>): string[] {
  const medianOf = (of: ServerKind, pick: (one: Measured) => number) => median(measured[of].map(pick));
  const cpu = (of: ServerKind) =>
    `server ${medianOf(of, ({ serverCpu }) => serverCpu).toFixed(2)}, client ${medianOf(of, ({ clientCpu }) => clientCpu).toFixed(2)}`;
  const each = (of: ServerKind) => medianOf(of, ({ serverCpu, rate }) => (serverCpu / rate) * 1e6).toFixed(1);
  const notes = [
    `cores used: ours ${cpu(kind)}; bare ${cpu('bare')}`,
    `CPU of the server for a redirect: ours ${each(kind)} µs, bare ${each('bare')} µs`,
  ];
  for (const one of [kind, 'bare'] as const) {
    if (medianOf(one, ({ serverCpu }) => serverCpu) < SATURATED_MIN)
      notes.push(`WARNING: the ${one} server was not saturated: its rate is the client's or the machine's`);
  }
  return notes;
}
