import { once } from 'node:events';
import { join } from 'node:path';
import { createPool } from '../../common/postgres/postgres.ts';
import { createKey } from '../../ledger/access/api-keys.ts';
import type { ApiLoad } from './api-client.ts';
import type { Bench, BenchContext } from './bench.ts';
import { ROOT } from './checkout.ts';
import { readReport } from './click-stack.ts';
import { NODE } from './node-command.ts';
import { commandOf } from './npm-script.ts';
import { type BenchResult, comparePairs, median } from './result.ts';
import { startStack } from './stack-process.ts';

const REQUESTS_PER_SECOND = 500;
/** How much longer the p99 of redirects may be with the requests. */
const FACTOR_MAX = 1.1;
const SPIKE = ['spike', '--ramp', '5s', '--hold', '25s', '--json', '--no-report'];

type ConsoleClient = { readonly url: string; readonly key: string };

/**
 * The p99 of the redirects of the default spike, without and with requests to the HTTP API, in turn. All processes share the machine. The client
 * of the API has the lowest priority, because it usually runs elsewhere.
 */
export const benchSpikeBesideApi: Bench = async (context) => {
  const settings = { ...context.settings, CONSOLE_REQUESTS_PER_SECOND: String(2 * REQUESTS_PER_SECOND) };
  const { stack } = await startStack(ROOT, settings, context);
  const pool = createPool(stack.databaseUrl, 'bench', 1, () => {});
  context.resources.add({ name: 'connections', close: () => pool.end() });
  const { key } = await createKey(pool, { name: 'Bench', role: 'admin' });
  const client = { url: stack.consoleUrl, key };
  const pairs: { ours: number; reference: number }[] = [];
  const p99s: number[] = [];
  for (let round = 1; round <= context.rounds; round += 1) {
    context.progress.show(`spike-beside-api: round ${round} of ${context.rounds}`);
    const reference = await runSpike(stack.dataDir, context);
    const end = startClient(client, context);
    const ours = await runSpike(stack.dataDir, context);
    const { sent, failed, p99Ms } = await end();
    if (failed > 0) throw new Error(`Expected 200 from the HTTP API, got ${failed} other answers of ${sent}`);
    p99s.push(p99Ms);
    pairs.push({ ours, reference });
  }
  return [report(pairs, p99s)];
};

/** Runs the spike, and returns the p99 of the redirects of its peak, in ms. */
async function runSpike(dataDir: string, { resources, env }: BenchContext): Promise<number> {
  const child = resources.child([...commandOf(ROOT, 'load'), ...SPIKE], {
    cwd: ROOT,
    env: { ...env, DATA_DIR: dataDir },
    stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
  });
  const { phases } = await readReport(child, 'relayed');
  const peak = phases.find(({ name }) => name === 'peak');
  if (!peak) throw new Error('Expected a peak in the report of the spike, got none');
  return peak.latencyMs.p99;
}

/** Starts the client of the HTTP API. The returned function ends it. */
function startClient({ url, key }: ConsoleClient, { resources, env }: BenchContext) {
  const script = join(import.meta.dirname, 'api-client.ts');
  const child = resources.child(
    [...NODE, '--single-threaded-gc', script, url, key, String(REQUESTS_PER_SECOND)],
    { env },
  );
  return async (): Promise<ApiLoad> => {
    const result = once(child, 'message');
    child.send('end');
    const [load] = await result;
    return load as ApiLoad;
  };
}

function report(pairs: readonly { ours: number; reference: number }[], p99s: readonly number[]): BenchResult {
  return comparePairs(
    'spike-beside-api',
    'ms',
    'max',
    pairs,
    [
      `p99 of redirects at the peak of the default spike with ${REQUESTS_PER_SECOND} requests/s to the HTTP API, against that without them; ` +
        `p99 of the API ${median(p99s).toFixed(0)} ms`,
    ],
    1 / FACTOR_MAX,
  );
}
