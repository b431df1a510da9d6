import { join } from 'node:path';
import { Pool as HttpPool } from 'undici';
import { sleep } from '../../common/process.ts';
import { freePorts } from '../../emulators/process/free-ports.ts';
import type { Bench, BenchContext } from './bench.ts';
import { openDatabase, startServer } from './charge-database.ts';
import { ADVERTISERS, fillSettings } from './console-ledger.ts';
import { processMicros } from './process-cpu.ts';
import { type BenchResult, compareLimit, median } from './result.ts';

/** Time between two scrapes of the deployment, in ms, and the share of a core that they may cost. */
const INTERVAL_MS = 5_000;
const SHARE_MAX = 0.01;
/** Scrapes of a round, and the time between two, in ms. */
const SCRAPES = 50;
const SCRAPE_EVERY_MS = 100;
/** After this time, in ms, the burn rates are known and all series exist. */
const WARM_MS = 40_000;

type Processor = { readonly scrape: () => Promise<string>; readonly cpuMs: () => number };

/** What a scrape of a processor costs with 10 000 advertisers, and what reading their numbers every 5 s does. */
export const benchMetricsScrape: Bench = async (context) => {
  const url = await startServer(context);
  const pool = await openDatabase(url, 2, context);
  context.progress.say(`metrics-scrape: adding ${ADVERTISERS} advertisers`);
  await fillSettings(pool);
  await pool.query('insert into click_rollup_total select id, id, id, id from advertiser');
  const processor = await startProcessor(url, context);
  context.progress.show('metrics-scrape: until all series exist');
  await sleep(WARM_MS);
  return [await measure(processor, context)];
};

async function startProcessor(url: string, { resources, env }: BenchContext): Promise<Processor> {
  const [port] = await freePorts(1);
  const child = resources.child([process.execPath, join(import.meta.dirname, '../../processor/main.ts')], {
    env: { ...env, DATABASE_URL: url, DATA_DIR: resources.folder(), PROCESSOR_OPS_PORT: String(port) },
  });
  const client = new HttpPool(`http://127.0.0.1:${port}`, { connections: 1 });
  resources.add({ name: 'HTTP client', close: () => client.destroy() });
  const scrape = async () => (await client.request({ method: 'GET', path: '/metrics' })).body.text();
  return { scrape, cpuMs: () => processMicros(child.pid ?? 0) / 1_000 };
}

/** The CPU time of rounds with scrapes, less that of as long a time without them. */
async function measure({ scrape, cpuMs }: Processor, context: BenchContext): Promise<BenchResult> {
  const roundMs = SCRAPES * SCRAPE_EVERY_MS;
  const costs: number[] = [];
  const idle: number[] = [];
  const times: number[] = [];
  for (let round = 0; round <= context.rounds; round += 1) {
    context.progress.show(`metrics-scrape: round ${round} of ${context.rounds}`);
    const begun = cpuMs();
    await sleep(roundMs);
    const idleMs = cpuMs() - begun;
    for (let count = 0; count < SCRAPES; count += 1) {
      const startedAt = performance.now();
      await scrape();
      if (round > 0) times.push(performance.now() - startedAt);
      await sleep(Math.max(0, SCRAPE_EVERY_MS - (performance.now() - startedAt)));
    }
    // Round 0 is not counted: it warms up code and connections.
    if (round === 0) continue;
    idle.push(idleMs / roundMs);
    costs.push((cpuMs() - begun - 2 * idleMs) / SCRAPES);
  }
  const series = (await scrape()).split('\n').filter((line) => !line.startsWith('#')).length;
  const p99 = times.sort((a, b) => a - b)[Math.floor(times.length * 0.99)] ?? Number.NaN;
  const ms = median(costs);
  return compareLimit('metrics-scrape', 'ms of CPU', 'max', ms, SHARE_MAX * INTERVAL_MS, [
    `${ADVERTISERS} advertisers, ${series} series; a scrape every ${INTERVAL_MS / 1_000} s is ${((100 * ms) / INTERVAL_MS).toFixed(2)} % of a core; p99 ` +
      `${p99.toFixed(0)} ms; the idle processor, which reads the numbers every 5 s, uses ${(100 * median(idle)).toFixed(1)} % of a core`,
  ]);
}
