import { counted } from '../../common/counted.ts';
import { errorCode, errorMessage, type TollwayError } from '../../common/errors.ts';
import type { Pool } from '../../common/postgres/postgres.ts';
import { createLogger } from '../../common/telemetry/logger.ts';
import { createMetrics, type ProcessMetrics } from '../../common/telemetry/metrics.ts';
import type { ReadRecord } from '../../contract/click-event.ts';
import { type FailedInvocation, readFailedInvocation } from '../../processor/events/failed-invocation.ts';
import { createRuntime } from '../../processor/runtime.ts';
import { command, findContext, group, type Output, recordIntent } from '../context.ts';
import { type FailureStore, openFailureStore } from '../failure-store.ts';
import { printJson, printLine } from '../print.ts';

/** Result for one object; one with a `problem` has to be redriven again. */
type Row = {
  readonly object: string;
  /** Records that were settled, duplicates among them. */
  readonly records: number;
  readonly removed: boolean;
  readonly problem: string | null;
};
type Settle = (records: readonly ReadRecord[]) => Promise<number>;

/**
 * Settles the records of one object, and removes the object only then: after an interruption it is redriven again, and its settled
 * records count as duplicates. `null` if the object was removed by another process.
 */
async function redriveOne(
  store: FailureStore,
  object: string,
  settle: Settle,
  keep: boolean,
): Promise<Row | null> {
  let records = 0;
  try {
    const bytes = await store.read(object);
    if (bytes === null) return null;
    const failed = readFailedInvocation(object, bytes);
    if (failed.is === 'metadata') return { object, records, removed: false, problem: hint(object, failed) };
    const counting: Settle = async (batch) => {
      const settled = await settle(batch);
      records += settled;
      return settled;
    };
    if (failed.is === 'batch') await counting(failed.records);
    else {
      const { chargeFiles } = await import('../../processor/charge-file.ts');
      await chargeFiles(object, failed.locations, counting);
    }
    if (!keep) await store.remove(object);
    return { object, records, removed: !keep, problem: null };
  } catch (error) {
    // A constraint contradicts a charge, so no other object must be charged.
    if (errorCode(error) === 'invariant') throw error;
    return { object, records, removed: false, problem: errorMessage(error) };
  }
}

/** Tells how to replay the records if the object has only their metadata. */
function hint(object: string, { count, since }: FailedInvocation & { is: 'metadata' }): string {
  const records = count === null ? 'records' : counted(count, 'record');
  const rewind = `npx tollway rewind --since ${since ?? '<when they were published>'}`;
  return `${object}: expected the records of a batch, got metadata of ${records} only; replay them while the stream keeps them: ${rewind}`;
}

/** Creates a runtime of the handler on the database of the command line, and ends it after `work`. */
async function withRuntime<T>(
  work: (settle: Settle, metrics: ProcessMetrics, pool: Pool) => Promise<T>,
): Promise<T> {
  const { config, stack } = findContext();
  const metrics = createMetrics();
  let broken: TollwayError | null = null;
  const runtime = createRuntime(
    'cli',
    { ...config, DATABASE_URL: stack.databaseUrl },
    {
      metrics,
      logger: createLogger('failed-batches', config, 2),
      onInvariant: (error) => {
        broken = error;
      },
    },
  );
  const settle: Settle = async (records) => {
    await runtime.dispatcher.submit(records).catch((error: unknown) => {
      throw broken ?? error;
    });
    return records.length;
  };
  try {
    // The handler waits for a database that stops answering while it works; one that never answered is an error at once.
    await runtime.pool.query('select');
    return await work(settle, metrics, runtime.pool);
  } finally {
    await runtime.pool.end();
  }
}

/** Records by outcome, as in `{ charged: 998, duplicate: 2 }`. */
async function outcomesOf({ clicks, duplicates, foreignRecords }: ProcessMetrics) {
  const outcomes: Record<string, number> = {};
  const add = (outcome: string, count: number) => {
    if (count > 0) outcomes[outcome] = (outcomes[outcome] ?? 0) + count;
  };
  for (const { labels, value } of (await clicks.get()).values) add(String(labels.outcome), value);
  for (const { value } of (await duplicates.get()).values) add('duplicate', value);
  for (const { value } of (await foreignRecords.get()).values) add('foreign', value);
  return outcomes;
}

function printRedriven({ object, records, removed, problem }: Row): void {
  if (problem !== null) printLine(`Kept: ${problem}`);
  else printLine(`${object}: ${counted(records, 'record')} settled${removed ? '' : ', kept'}`);
}

const redriveCommand = command(
  'redrive',
  'Settle the batches that Lambda gave up on, from the failure bucket or a copy. Removes an object once all its records are settled',
  [
    'failed-batches redrive s3://tollway-failures-123456789012-us-east-1',
    'failed-batches redrive s3://tollway-failures-123456789012-us-east-1/aws/lambda/async/ --keep',
    'failed-batches redrive ./downloaded',
  ],
  'an object has a problem',
)
  .argument('<place>', 's3://bucket[/prefix], a file or a folder')
  .option('--keep', 'remove no object; redriving it again charges nothing again')
  .action(async (place: string, { keep = false, format }: Output & { keep?: boolean }) => {
    const store = await openFailureStore(place);
    try {
      await withRuntime(async (settle, metrics, pool) => {
        await recordIntent(pool, { action: 'failed_batches.redrive', subject: place, after: { keep } });
        const rows: Row[] = [];
        for await (const object of store.list()) {
          const row = await redriveOne(store, object, settle, keep);
          if (row === null) continue;
          rows.push(row);
          if (format === 'table') printRedriven(row);
        }
        const outcomes = await outcomesOf(metrics);
        if (format === 'json') printJson({ objects: rows, outcomes });
        else printLine(summaryOf(rows, outcomes));
        if (rows.some(({ problem }) => problem !== null)) process.exitCode = 1;
      });
    } finally {
      store.close();
    }
  });

function summaryOf(rows: readonly Row[], outcomes: Readonly<Record<string, number>>): string {
  if (rows.length === 0) return 'There are no failed batches.';
  const words = Object.entries(outcomes).map(([outcome, count]) => `${count} ${outcome}`);
  const problems = rows.filter(({ problem }) => problem !== null).length;
  return [
    counted(rows.length, 'object'),
    ...words,
    ...(problems > 0 ? [`${problems} with problems`] : []),
  ].join(', ');
}

export const failedBatches = group('failed-batches', 'Settle the batches that Lambda gave up on', [
  redriveCommand,
]);
