import { expect, it, onTestFinished, vi } from 'vitest';
import { createMetrics, type ProcessMetrics } from '../../common/telemetry/metrics.ts';
import { runReconciliationGauges } from '../../console/tasks/reconciliation-gauges.ts';
import {
  readLatestReconciliation,
  storeReconciliation,
} from '../../ledger/reconciliation/latest-reconciliation.ts';
import { reconcile } from '../../ledger/reconciliation/reconcile.ts';
import { createTestDatabase } from '../support/database.ts';
import { capturedLog } from '../support/loggers.ts';

const COUNTS = ['booksProblems', 'missingClicks', 'inFlightClicks'] as const;

/** The values of the gauges; `undefined` for those that are absent. */
async function read(metrics: ProcessMetrics): Promise<(number | undefined)[]> {
  return Promise.all(COUNTS.map(async (name) => (await metrics[name].get()).values[0]?.value));
}

it('every console exports the latest reconciliation, and none of its counts while the database does not answer', async () => {
  const database = await createTestDatabase();
  const { pool } = database;
  const result = {
    ...(await reconcile(pool, { brokers: [] })),
    ...{ balanced: false, problems: ['one', 'two'], missing: 3, inFlight: 4 },
  };
  const consoles = [1, 2].map(() => createMetrics('console'));
  const log = capturedLog();
  const reads = consoles.map((metrics) => runReconciliationGauges(database.url, metrics, log.logger));
  onTestFinished(async () => void (await Promise.all(reads.map(({ stop }) => stop()))));
  const poll = async (expected: unknown) =>
    vi.waitFor(
      async () =>
        expect(await Promise.all(consoles.map((metrics) => read(metrics)))).toEqual([expected, expected]),
      { timeout: 20_000, interval: 100 },
    );

  await poll([undefined, undefined, undefined]);
  await storeReconciliation(pool, result, { hasBroker: true, durationMs: 10 });
  await poll([2, 3, 4]);
  await storeReconciliation(pool, result, { hasBroker: false, durationMs: 10 });
  await poll([2, undefined, undefined]);
  const checkedAt = ((await readLatestReconciliation(pool))?.checkedAt.getTime() ?? 0) / 1_000;
  await database.drop();
  await poll([undefined, undefined, undefined]);
  for (const { reconciledAt } of consoles)
    expect((await reconciledAt.get()).values).toEqual([{ labels: {}, value: checkedAt }]);
  expect(log.lines.join()).toContain('cannot read the latest reconciliation');
}, 60_000);
