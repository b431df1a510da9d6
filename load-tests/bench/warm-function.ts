import { kinesisEvent } from '../../emulators/lambda/events.ts';
import { type Lambda, startLambda } from '../../emulators/lambda/runtime.ts';
import { chargeClicks } from '../../processor/charge/charge-clicks.ts';
import type { BenchContext } from './bench.ts';
import { functionFolder, MEMORY_MEGABYTES } from './built-functions.ts';
import { decodeRecords, makeRecords } from './charge-data.ts';
import { ADVERTISERS, type FunctionDatabase } from './function-database.ts';
import { type BenchResult, compareLimit, median } from './result.ts';
import { formatRange } from './start-times.ts';

const NAME = 'lambda-kinesis';
const CLICKS = 1_000;
const WARM_UP_INVOCATIONS = 50;
const INVOCATIONS = 200;
/** Limit of the time of an invocation without the server time of PostgreSQL, in ms. */
const BEYOND_MS_MAX = 50;
const RESIDENT_MB_MAX = 128;
const CLICK_AGE_MAX_DAYS = 14;

/**
 * Measures a warm Kinesis function with full batches: its memory, and the time of an invocation from the event to the answer, without the server
 * time of PostgreSQL.
 */
export async function measureWarm(
  database: FunctionDatabase,
  context: BenchContext,
): Promise<{ results: BenchResult[]; clicks: number }> {
  const { resources, progress } = context;
  const lambda = await startLambda({
    folder: functionFolder(NAME),
    functionName: NAME,
    memoryMegabytes: MEMORY_MEGABYTES,
    env: { DATABASE_URL: database.timedUrl },
  });
  resources.add({ name: NAME, close: lambda.stop });
  const wallMs: number[] = [];
  const serverMs: number[] = [];
  const handlerMs: number[] = [];
  for (let invocation = 0; invocation < WARM_UP_INVOCATIONS + INVOCATIONS; invocation += 1) {
    progress.show(`warm: invocation ${invocation} of ${WARM_UP_INVOCATIONS + INVOCATIONS}`);
    // Interleaved with the function, so that both use the database in the same state.
    const alone = await chargeAlone(database);
    const wall = await invokeOnce(lambda);
    const server = database.takeServerMs();
    if (invocation < WARM_UP_INVOCATIONS) continue;
    handlerMs.push(alone);
    wallMs.push(wall);
    serverMs.push(server);
  }
  const { now, max } = lambda.residentBytes();
  const starts = lambda.starts();
  await lambda.stop();
  if (starts !== 1) throw new Error(`${NAME}: expected one process, got ${starts}`);
  const beyondMs = wallMs.map((wall, index) => wall - (serverMs[index] ?? 0));
  const results = [
    compareLimit('warm-memory', 'MB', 'max', max / 1e6, RESIDENT_MB_MAX, [
      `highest resident memory of ${NAME} in ${WARM_UP_INVOCATIONS + INVOCATIONS} invocations with ${CLICKS} clicks over ` +
        `${ADVERTISERS} advertisers, ${(now / 1e6).toFixed(0)} MB at the end; heap limits as Lambda sets them for ${MEMORY_MEGABYTES} MB`,
    ]),
    compareLimit('warm-invocation', 'ms', 'max', median(beyondMs), BEYOND_MS_MAX, [
      `median of ${INVOCATIONS} invocations with ${CLICKS} clicks, from the event to the answer, without the server time of ` +
        `the statements (log_duration); ${formatRange(beyondMs)}`,
      `total ${median(wallMs).toFixed(1)} ms, including ${median(serverMs).toFixed(1)} ms of the server; the handler alone with the same ` +
        `batches, already decoded, in the process of the benchmark: ${median(handlerMs).toFixed(1)} ms`,
    ]),
  ];
  return { results, clicks: 2 * (WARM_UP_INVOCATIONS + INVOCATIONS) * CLICKS };
}

async function chargeAlone({ pool }: FunctionDatabase): Promise<number> {
  const clicks = decodeRecords(makeRecords(CLICKS, ADVERTISERS, 'evergreen'));
  const startedAt = performance.now();
  await chargeClicks(pool, clicks, { clickAgeMaxDays: CLICK_AGE_MAX_DAYS });
  return performance.now() - startedAt;
}

async function invokeOnce(lambda: Lambda): Promise<number> {
  const event = kinesisEvent(makeRecords(CLICKS, ADVERTISERS, 'evergreen'));
  const startedAt = performance.now();
  const result = await lambda.invoke(event);
  const ms = performance.now() - startedAt;
  if ('error' in result) throw new Error(`${NAME}: ${result.error.errorMessage}`);
  return ms;
}
