/**
 * Attack: 64 spools with living owners while another process looks for abandoned ones; and 64 ad server workers on one folder of spools,
 * eight of which are killed by SIGKILL while clicks come. Run it by hand, with nothing else running:
 *
 *     npx -c 'node test/system/attack/many-spools.ts [--seconds 20]'
 *
 * Prints one line per check and exits 1 when one fails.
 */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { parseArgs } from 'node:util';
import { pino } from 'pino';
import { sleep } from '../../../common/process.ts';
import { adoptDeadSpools } from '../../../producer/dead-spools.ts';
import { Spool } from '../../../producer/spool.ts';
import { makeLinks, startTraffic } from '../../support/clicks.ts';
import { stackEnv, startStack } from '../../support/stack.ts';
import { makeFolder, removeFolder } from '../../support/temporary-folder.ts';
import { until } from '../../support/until.ts';
import { check } from './report-check.ts';

const SPOOLS = 64;
const KILLED = 8;
/** Longest time that one turn of the event loop may take because of other spools, in ms. */
const TURN_MS_MAX = 5;
/** Number of searches measured separately. A pause of the machine affects some; a blocking bug affects all. */
const SEARCHES = 30;

/** A process of its own: owns spools until its parent is gone. */
function ownSpools(root: string): void {
  const options = { root, bytesMax: 1e9, segmentBytes: 8_388_608, sync: 'os', syncIntervalMs: 100 } as const;
  for (let count = 0; count < SPOOLS; count += 1) new Spool(options, pino({ level: 'silent' }));
  process.once('disconnect', () => process.exit(0));
  process.send?.('owned');
}

async function longestTurnMs(work: () => Promise<void>): Promise<number> {
  const histogram = monitorEventLoopDelay({ resolution: 1 });
  histogram.enable();
  await work();
  histogram.disable();
  // The histogram counts the timer's own millisecond.
  return Math.max(0, histogram.max / 1e6 - 1);
}

async function searchOwnedSpools(): Promise<void> {
  const root = makeFolder();
  const owner = fork(import.meta.filename, ['own', root]);
  await once(owner, 'message');
  try {
    let adopted = 0;
    const search = async () => {
      for await (const { release } of adoptDeadSpools(root)) {
        adopted += 1;
        release();
      }
    };
    await search();
    const longest: number[] = [];
    for (let count = 0; count < SEARCHES; count += 1) longest.push(await longestTurnMs(search));
    const shortestMs = Math.min(...longest);
    check('no spool with a living owner is adopted', adopted === 0, adopted);
    const found = `longest turn between ${shortestMs.toFixed(2)} ms and ${Math.max(...longest).toFixed(2)} ms in ${SEARCHES} searches`;
    check(
      `no turn of the event loop over ${TURN_MS_MAX} ms beside ${SPOOLS} spools`,
      shortestMs < TURN_MS_MAX,
      found,
    );
  } finally {
    owner.disconnect();
    await once(owner, 'exit');
    removeFolder(root);
  }
}

async function killWorkers(seconds: number): Promise<void> {
  const folder = makeFolder();
  const stack = await startStack(await stackEnv(folder, { AD_SERVER_WORKERS: String(SPOOLS) }));
  try {
    const workers = () => stack.pidsOf('ad-server/main.ts').slice(1);
    await until(`${SPOOLS} workers`, () => workers().length === SPOOLS, 120_000);
    check(`${SPOOLS} workers run`, workers().length === SPOOLS, workers().length);
    await stack.tollway('advertiser', 'top-up', '1', '100000.00');
    const traffic = startTraffic(await makeLinks(stack, 1, seconds * 200), 20);
    for (const pid of workers().slice(0, KILLED)) {
      await sleep((seconds * 1_000) / (2 * KILLED));
      process.kill(pid, 'SIGKILL');
    }
    await traffic.done;
    await until(
      'balanced books with nothing missing or in flight',
      async () => (await stack.tollway('reconcile', '--settled', '--deep')).code === 0,
      120_000,
    );
    const { stdout } = await stack.tollway('export');
    const rows = new Map<string, number>();
    for (const line of stdout.split('\n').filter(Boolean)) {
      const { clickId } = JSON.parse(line) as { clickId: string };
      rows.set(clickId, (rows.get(clickId) ?? 0) + 1);
    }
    const once = traffic.recorded.filter((clickId) => rows.get(clickId) === 1).length;
    check(
      'every answered click is in the ledger once',
      once === traffic.recorded.length && once > 0,
      `${once} of ${traffic.recorded.length}, ${traffic.counts.failed} arrivals without an answer`,
    );
    check('the killed workers are replaced', workers().length === SPOOLS, workers().length);
  } finally {
    await stack.stop();
    removeFolder(folder);
  }
}

const { positionals, values } = parseArgs({
  allowPositionals: true,
  options: { seconds: { type: 'string', default: '20' } },
});
if (positionals[0] === 'own') ownSpools(positionals[1] ?? '');
else {
  await searchOwnedSpools();
  await killWorkers(Number(values.seconds));
}
