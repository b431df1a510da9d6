import type { Pool } from '../../common/postgres/postgres.ts';
import type { Bench, BenchContext } from './bench.ts';
import { openDatabase, startServer } from './charge-database.ts';
import { ADS, ADVERTISERS, CAMPAIGNS, fillSettings } from './console-ledger.ts';
import { type ApiRequest, type ConsoleServer, startConsole } from './console-server.ts';
import { type BenchResult, compareLimit, median } from './result.ts';
import { watchTotalCpu } from './server-cpu.ts';

const LINKS = 1_000;
const LINKS_MS_MAX = 30;
const LISTS_MS_MAX = 20;
const RATE_MIN = 500;
/** Requests of each kind in a round, and short rounds in each round of the command: other programs disturb fewer of these. */
const REQUESTS_A_ROUND = 5;
const SHORT_ROUNDS = 4;
/** Requests that are under way at the same time for the rate, and how long they are sent, in ms. */
const CONNECTIONS = 16;
const RATE_MS = 10_000;

/** The HTTP API of the console: links, pages of lists, and requests per second, over HTTP, with all processes on this machine. */
export const benchConsole: Bench = async (context) => {
  const url = await startServer(context);
  const pool = await openDatabase(url, 2, context);
  context.progress.say(`console: adding ${ADVERTISERS} advertisers and ${ADS} ads`);
  await fillSettings(pool);
  const server = await startConsole(url, pool, CONNECTIONS, context);
  return [
    await measureLinks(server, context),
    await measureLists(server, context),
    await measureRate(server, pool, context),
  ];
};

/** The least of the medians of the rounds: other programs of the machine only add to a time. */
async function timeOf(
  { send, cpuMs }: ConsoleServer,
  request: ApiRequest,
  { rounds }: BenchContext,
): Promise<{ ms: number; cpu: number }> {
  const medians: number[] = [];
  let begunMs = cpuMs();
  // Round 0 is not counted: it warms up code, connections and caches.
  for (let round = 0; round <= rounds * SHORT_ROUNDS; round += 1) {
    if (round === 1) begunMs = cpuMs();
    const times: number[] = [];
    for (let run = 0; run < REQUESTS_A_ROUND; run += 1) {
      const startedAt = performance.now();
      await send(request);
      times.push(performance.now() - startedAt);
    }
    if (round > 0) medians.push(median(times));
  }
  return { ms: Math.min(...medians), cpu: (cpuMs() - begunMs) / medians.length / REQUESTS_A_ROUND };
}

async function measureLinks(server: ConsoleServer, context: BenchContext): Promise<BenchResult> {
  context.progress.show('console: links');
  const body = { adId: 1, count: LINKS, publisher: 'daily-news' };
  const { ms, cpu } = await timeOf(server, { method: 'POST', path: '/v1/links', body }, context);
  return compareLimit('console-links', 'ms', 'max', ms, LINKS_MS_MAX, [
    `POST /v1/links of ${LINKS} impression links: the best median of ${context.rounds * SHORT_ROUNDS} rounds; ${cpu.toFixed(1)} ms of CPU time of the console`,
  ]);
}

/** Pages of lists by their names in the notes. */
const LISTS: readonly (readonly [name: string, path: string])[] = [
  ['advertisers', '/v1/advertisers?limit=100'],
  ['deep', `/v1/advertisers?limit=100&cursor=${cursorOf(ADVERTISERS - 200)}`],
  ['search', '/v1/advertisers?limit=100&search=iser%2099'],
  ['rare search', '/v1/advertisers?limit=100&search=iser%209999'],
  ['campaigns', '/v1/campaigns?limit=100'],
  ['deep', `/v1/campaigns?limit=100&cursor=${cursorOf(CAMPAIGNS - 200)}`],
  ['rare search', '/v1/campaigns?limit=100&search=paign%2019999'],
  ['ads', '/v1/ads?limit=100'],
  ['deep', `/v1/ads?limit=100&cursor=${cursorOf(ADS - 200)}`],
  ['rare search', '/v1/ads?limit=100&search=anner%2099999'],
  ['of an advertiser', `/v1/ads?limit=100&advertiserId=${ADVERTISERS}`],
];

function cursorOf(id: number): string {
  return Buffer.from(String(id)).toString('base64url');
}

async function measureLists(server: ConsoleServer, context: BenchContext): Promise<BenchResult> {
  const times: number[] = [];
  const notes: string[] = [];
  for (const [name, path] of LISTS) {
    context.progress.show(`console: ${path}`);
    const { ms, cpu } = await timeOf(server, { method: 'GET', path }, context);
    times.push(ms);
    notes.push(`${name} ${ms.toFixed(1)} (${cpu.toFixed(1)})`);
  }
  return compareLimit('console-lists', 'ms', 'max', Math.max(...times), LISTS_MS_MAX, [
    `the slowest page of 100 of ${ADVERTISERS} advertisers, ${CAMPAIGNS} campaigns and ${ADS} ads; best medians of ${context.rounds * SHORT_ROUNDS} ` +
      `rounds, in parentheses the CPU time of the console: ${notes.join(', ')}`,
  ]);
}

/** The requests of integrations: mostly reads of one thing, some pages, links and top-ups. */
function requestOf(index: number): ApiRequest {
  const id = 1 + ((index * 7919) % ADVERTISERS);
  switch (index % 10) {
    case 0:
      return {
        method: 'POST',
        path: `/v1/advertisers/${id}/budget-entries`,
        body: { amount: '1.00', reference: `bench-${index}` },
      };
    case 1:
      return { method: 'POST', path: '/v1/links', body: { adId: id, count: 10 } };
    case 2:
      return { method: 'GET', path: `/v1/ads?limit=20&advertiserId=${id}` };
    case 3:
    case 4:
      return { method: 'GET', path: `/v1/campaigns/${id}` };
    case 5:
    case 6:
      return { method: 'GET', path: `/v1/ads/${id}` };
    default:
      return { method: 'GET', path: `/v1/advertisers/${id}` };
  }
}

async function measureRate(
  { send, cpuMs }: ConsoleServer,
  pool: Pool,
  context: BenchContext,
): Promise<BenchResult> {
  context.progress.show(`console: requests of ${CONNECTIONS} clients for ${RATE_MS / 1_000} s`);
  const times: number[] = [];
  let index = 0;
  const readOtherCpu = await watchTotalCpu(pool);
  const otherMicros = readOtherCpu();
  const begunMs = cpuMs();
  const startedAt = performance.now();
  await Promise.all(
    Array.from({ length: CONNECTIONS }, async () => {
      while (performance.now() - startedAt < RATE_MS) {
        const sentAt = performance.now();
        index += 1;
        await send(requestOf(index));
        times.push(performance.now() - sentAt);
      }
    }),
  );
  const rate = (times.length / (performance.now() - startedAt)) * 1_000;
  const cpu = (cpuMs() - begunMs) / times.length;
  const otherCpu = (readOtherCpu() - otherMicros) / 1_000 / times.length;
  const p99 = times.sort((a, b) => a - b)[Math.floor(times.length * 0.99)] ?? Number.NaN;
  return compareLimit('console-rate', 'requests/s', 'min', rate, RATE_MIN, [
    `${CONNECTIONS} clients for ${RATE_MS / 1_000} s, a tenth each top-ups, links and pages, the rest reads of one thing; p99 ${p99.toFixed(0)} ms; ` +
      `CPU time for each: console ${cpu.toFixed(2)} ms, client and PostgreSQL ${otherCpu.toFixed(2)} ms`,
  ]);
}
