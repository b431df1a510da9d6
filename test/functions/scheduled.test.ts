import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { watermarkRecord } from '../../contract/click-event.ts';
import { readRecord } from '../../contract/read-record.ts';
import { startLambda } from '../../emulators/lambda/runtime.ts';
import { ricIsMissing } from '../../emulators/lambda/runtime-client.ts';
import { startOpenwhisk } from '../../emulators/openwhisk/runtime.ts';
import type { ReconciliationReport } from '../../processor/functions/report-reconciliation.ts';
import { chargeBatch } from '../support/charge-batch.ts';
import { addAccount, createTestDatabase, type TestDatabase } from '../support/database.ts';
import { TestSpool } from '../support/records.ts';
import { isSkipped } from '../support/skipped.ts';
import { builtFunctions } from './bundles.ts';

const root = builtFunctions();
/** Timeout that includes compiling AWS's runtime client if it is not cached. */
const RUN_MS_MAX = 120_000;
/** A deadline that leaves no time for the wait between the two reconciliations. */
const SOON_MS = 11_000;

type Call = (deadlineMs?: number, event?: { deep: boolean }) => Promise<unknown>;
type Running = { readonly call: Call; readonly logs: () => string; readonly stop: () => Promise<void> };
type Task = 'reconcile' | 'maintain';

const runtimes: {
  name: string;
  missing: string | null;
  start: (task: Task, url: string) => Promise<Running>;
}[] = [
  {
    name: 'Lambda',
    missing: await ricIsMissing(),
    start: async (task, url) => {
      const name = task === 'reconcile' ? 'lambda-reconcile' : 'lambda-maintenance';
      const running = await startLambda({
        folder: join(root, name),
        functionName: name,
        env: { DATABASE_URL: url },
      });
      const call: Call = async (deadlineMs = 60_000, event) => {
        const result = await running.invoke({ 'detail-type': 'Scheduled Event', ...event }, { deadlineMs });
        return 'error' in result ? result.error.errorMessage : result.answer;
      };
      return { call, logs: running.logs, stop: running.stop };
    },
  },
  {
    name: 'OpenWhisk',
    missing: null,
    start: async (task, url) => {
      const running = await startOpenwhisk({
        zip: join(root, 'openwhisk.zip'),
        main: task,
        params: { DATABASE_URL: url },
      });
      const call: Call = async (timeoutMs = 60_000, event = { deep: false }) => {
        const answer = await running.run(event, { timeoutMs });
        return answer.ok ? answer.result : JSON.stringify(answer.error);
      };
      return { call, logs: () => running.logs().stdout, stop: running.stop };
    },
  },
];

describe.each(runtimes)('scheduled on $name', ({ missing, start }) => {
  const on = (task: Task, what: string, work: (running: Running, database: TestDatabase) => Promise<void>) =>
    it.skipIf(isSkipped(missing))(
      what,
      async () => {
        const database = await createTestDatabase();
        const running = await start(task, database.url);
        try {
          await work(running, database);
        } finally {
          await running.stop();
          await database.drop();
        }
      },
      RUN_MS_MAX,
    );

  on('reconcile', 'balanced books are reported', async ({ call, logs }, { pool }) => {
    const { ad } = await addAccount(pool);
    const spool = new TestSpool();
    await chargeBatch(pool, [spool.click({ ad }), spool.click({ ad }), spool.watermark()]);
    expect(await call()).toEqual({ balanced: true, accepted: 2, settled: 2, missing: 0, problems: [] });
    expect(gauges(logs())).toEqual({
      tollway_books_problems: 0,
      tollway_missing_clicks: 0,
      tollway_dead_letters: 0,
    });
  });

  on(
    'reconcile',
    'books that do not balance are reported with their problems',
    async ({ call, logs }, { pool }) => {
      const { advertiser } = await addAccount(pool);
      await pool.query('alter table advertiser disable trigger all');
      await pool.query('update budget_entry set amount_micros = amount_micros + 1 where advertiser_id = $1', [
        advertiser.id,
      ]);
      const report = (await call()) as ReconciliationReport;
      expect(report).toMatchObject({ balanced: false, missing: 0 });
      expect(report.problems).toEqual([
        expect.stringMatching(new RegExp(`^advertiser ${advertiser.id} \\(Test advertiser\\): budget`)),
      ]);
      expect(gauges(logs())).toMatchObject({ tollway_books_problems: 1 });
    },
  );

  on(
    'reconcile',
    'clicks are reported as missing only if they stay missing',
    async ({ call, logs }, { pool }) => {
      const { ad } = await addAccount(pool);
      const spool = new TestSpool();
      const [lost, late, there] = [spool.click({ ad }), spool.click({ ad }), spool.click({ ad })];
      expect(lost.from?.sequence).toBe(1);
      await chargeBatch(pool, [there, readRecord(watermarkRecord(spool.id, 3), 'test')]);
      const reporting = call(14_000);
      // The first look finds both missing; the second is some seconds later. Nothing shows that the first is over, so the click comes
      // after a time between the two.
      await new Promise((resolve) => setTimeout(resolve, 2_000));
      await chargeBatch(pool, [late]);
      expect(await reporting).toEqual({
        balanced: true,
        accepted: 3,
        settled: 2,
        missing: 1,
        problems: [`spool ${spool.id}: 1 click missing, the first is 1`],
      });
      expect(gauges(logs())).toMatchObject({ tollway_missing_clicks: 1 });
      expect(logs()).toContain('Reconciliation found problems; see docs/runbook.md#reconciliation');
    },
  );

  on('reconcile', 'dead letters are counted, also near a deadline', async ({ call, logs }, { pool }) => {
    const spool = new TestSpool();
    await chargeBatch(pool, [
      readRecord({ key: `${spool.id}.2`, value: Buffer.from('x') }, 'test'),
      readRecord(watermarkRecord(spool.id, 2), 'test'),
    ]);
    // No time to distinguish missing clicks from clicks in flight.
    expect(await call(SOON_MS)).toMatchObject({ balanced: true, missing: null, problems: [] });
    expect(gauges(logs())).toMatchObject({ tollway_dead_letters: 1 });
  });

  on('reconcile', 'an unavailable database is reported', async ({ call }, { pool, url }) => {
    const name = new URL(url).pathname.slice(1);
    await pool.query(`alter database ${name} rename to ${name}_x`).catch(() => {});
    await pool.query('alter table spool_total rename to away');
    expect(String(await call())).toMatch(/spool_total/);
  });

  on('maintain', 'partitions are created and counters merged at every call', async ({ call }, { pool }) => {
    const { ad } = await addAccount(pool);
    const spool = new TestSpool();
    for (let count = 0; count < 3; count += 1) await chargeBatch(pool, [spool.click({ ad })]);
    const newest = await newestDay(pool);
    await pool.query(`drop table ${newest}`);
    await pool.query("update ledger_window set click_ahead = click_ahead - interval '1 day'");
    expect(await call()).toEqual({ maintained: true });
    expect(await newestDay(pool)).toBe(newest);
    expect((await pool.query('select from spool_counter')).rowCount).toBe(0);
    expect(await call()).toEqual({ maintained: true });
  });
});

/** The last written value of each gauge of the reconciliation. */
function gauges(logs: string): Record<string, unknown> {
  const found: Record<string, unknown> = {};
  for (const line of logs.split('\n').filter((text) => text.startsWith('{"_aws"'))) {
    for (const [name, value] of Object.entries(JSON.parse(line) as Record<string, unknown>)) {
      if (/^tollway_(books|missing|dead)/.test(name)) found[name] = value;
    }
  }
  return found;
}

async function newestDay(pool: TestDatabase['pool']): Promise<string> {
  const { rows } = await pool.query<{ relname: string }>(
    "select relname from pg_class where relkind = 'r' and relname like 'ledger_2%' order by relname desc limit 1",
  );
  return rows[0]?.relname ?? '';
}
