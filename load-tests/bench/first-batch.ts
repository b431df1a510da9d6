import { kafkaEvent, kinesisEvent } from '../../emulators/lambda/events.ts';
import { startLambda } from '../../emulators/lambda/runtime.ts';
import type { BenchContext } from './bench.ts';
import { functionFolder, MEMORY_MEGABYTES } from './built-functions.ts';
import { makeRecords } from './charge-data.ts';
import { ADVERTISERS, type FunctionDatabase } from './function-database.ts';
import { type BenchResult, compareLimit, median } from './result.ts';
import { formatRange } from './start-times.ts';

const ROUNDS_MIN = 9;
const CLICKS = 100;
const FIRST_BATCH_MS_MAX = 300;
const EVENTS = { 'lambda-kinesis': kinesisEvent, 'lambda-kafka': kafkaEvent } as const;
type Name = keyof typeof EVENTS;

/** Measures the time from the start of a function's process until its first batch is charged and answered. */
export async function measureFirstBatches(
  database: FunctionDatabase,
  context: BenchContext,
): Promise<{ results: BenchResult[]; clicks: number }> {
  const rounds = Math.max(context.rounds, ROUNDS_MIN);
  const firstMs: Record<Name, number[]> = { 'lambda-kinesis': [], 'lambda-kafka': [] };
  const names = Object.keys(EVENTS) as Name[];
  // Round 0 is a warm-up: it reads the files from disk and warms up the database.
  for (let round = 0; round <= rounds; round += 1) {
    context.progress.show(`first-batch: round ${round} of ${rounds}`);
    for (const name of round % 2 === 0 ? names : names.toReversed()) {
      const ms = await chargeFirst(name, database, context);
      if (round > 0) firstMs[name].push(ms);
    }
  }
  const results = names.map((name) =>
    compareLimit(`first-batch-${name}`, 'ms', 'max', median(firstMs[name]), FIRST_BATCH_MS_MAX, [
      `median of ${rounds} starts, from the start of the process to the answer to its first batch of ${CLICKS} clicks, including the connection to ` +
        `the database, ` +
        formatRange(firstMs[name]),
    ]),
  );
  return { results, clicks: (rounds + 1) * names.length * CLICKS };
}

async function chargeFirst(
  name: Name,
  { url }: FunctionDatabase,
  { resources }: BenchContext,
): Promise<number> {
  const event = EVENTS[name](makeRecords(CLICKS, ADVERTISERS, 'evergreen'));
  const lambda = await startLambda({
    folder: functionFolder(name),
    functionName: name,
    memoryMegabytes: MEMORY_MEGABYTES,
    env: { DATABASE_URL: url },
  });
  resources.add({ name, close: lambda.stop });
  const result = await lambda.invoke(event);
  const ms = performance.now() - lambda.startedAt();
  const starts = lambda.starts();
  await lambda.stop();
  if ('error' in result) throw new Error(`${name}: ${result.error.errorMessage}`);
  if (starts !== 1) throw new Error(`${name}: expected one process, got ${starts}`);
  return ms;
}
