import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { createPostgresSource } from '../../brokers/postgres/source.ts';
import { createPool, type Pool } from '../../common/postgres/postgres.ts';
import { createMetrics } from '../../common/telemetry/metrics.ts';
import { uuidV7 } from '../../common/uuid.ts';
import { type ExportRow, exportLedger } from '../../ledger/clicks/export.ts';
import type { ReplayReport } from '../../load-tests/replay/replay-report.ts';
import { BatchDispatcher } from '../../processor/dispatch/batch-dispatcher.ts';
import { chargeBatch } from '../support/charge-batch.ts';
import { addAccount, testDatabase } from '../support/database.ts';
import { silent } from '../support/loggers.ts';
import { TestSpool } from '../support/records.ts';
import { suiteFolder } from '../support/temporary-folder.ts';

const ROOT = join(import.meta.dirname, '..', '..');
const HOUR_MS = 3_600_000;
const recorded = testDatabase();
const target = testDatabase();
const folder = suiteFolder();

/** A processor in this process, for the target database of the replay. */
let stop: () => Promise<void>;
beforeAll(async () => {
  const pool = createPool(target.url, 'test consumer', 6, () => undefined);
  const options = { batchSize: 100, lanes: 2, clickAgeMaxDays: 14, retryAttempts: 1 };
  const deps = { metrics: createMetrics(), logger: silent, onInvariant: () => undefined };
  const dispatcher = new BatchDispatcher(pool, options, deps);
  const source = createPostgresSource(pool, dispatcher, { windowMs: 5, batchSize: 100 }, deps);
  const ended = source.run();
  stop = async () => {
    await source.stop();
    await ended;
    await pool.end();
  };
});
afterAll(async () => {
  await stop();
});

/** Pipes the export of one ledger into a replay on the other, in a shell. */
async function pipe(format: string) {
  const { DATABASE_URL: _, KAFKA_BROKERS: __, BROKER: ___, LINK_KEYS: ____, ...inherited } = process.env;
  const { stdout, stderr } = await promisify(execFile)(
    '/bin/sh',
    [
      '-c',
      `DATABASE_URL="$RECORDED" "$NODE" cli/main.js export --format ${format} |
       DATABASE_URL="$TARGET" "$NODE" load-tests/main.ts replay - --speed max --wait 20s --json`,
    ],
    {
      cwd: ROOT,
      env: {
        ...inherited,
        NODE: process.execPath,
        RECORDED: recorded.url,
        TARGET: target.url,
        DATA_DIR: folder,
      },
    },
  );
  return { report: JSON.parse(stdout) as ReplayReport, stderr };
}

/** The clicks of a ledger in the order of their times, without their outcomes. */
async function clicksOf(pool: Pool) {
  const clicks: Pick<ExportRow, 'clickId' | 'nonce' | 'adId' | 'publisher' | 'clickedAt'>[] = [];
  await exportLedger(pool, { since: new Date(0) }, async (rows) => {
    for (const { clickId, nonce, adId, publisher, clickedAt } of rows)
      clicks.push({ clickId, nonce, adId, publisher, clickedAt });
  });
  return clicks;
}

async function outcomesOf(pool: Pool) {
  const { rows } = await pool.query(
    'select outcome, reason, count(*)::int as clicks, sum(charged_micros)::text as micros from ledger group by 1, 2 order by 1, 2',
  );
  return rows;
}

it('replays the export of a day with an outage: the same clicks with the same outcomes', async () => {
  const { ad } = await addAccount(recorded.pool);
  await addAccount(target.pool);
  const spool = new TestSpool();
  const nonce = uuidV7();
  const clicks = Array.from({ length: 240 }, (_, index) =>
    spool.click({
      ad,
      clickedAt: Date.now() - 24 * HOUR_MS + index * (HOUR_MS / 10),
      // One link is clicked twice, during the outage and after it. Some clicks are of bots.
      nonce: index === 110 || index === 200 ? nonce : index % 3 === 0 ? uuidV7() : null,
      invalid: index % 50 === 7 ? 'bot' : null,
      publisher: index % 4 === 0 ? null : (['example-news', '12', 'null'][(index % 4) - 1] ?? null),
    }),
  );
  const isInOutage = (_: unknown, index: number) => index >= 90 && index < 150;
  const inTime = clicks.filter((click, index) => !isInOutage(click, index));
  await chargeBatch(recorded.pool, inTime);
  await recorded.pool.query(`update ledger set settled_at = clicked_at + interval '1 second'`);
  // The clicks of the outage are settled after later clicks, in several batches, in reverse order.
  const late = clicks.filter(isInOutage).reverse();
  for (let start = 0; start < late.length; start += 20)
    await chargeBatch(recorded.pool, late.slice(start, start + 20));

  const { report, stderr } = await pipe('ndjson');
  expect(report).toMatchObject({
    verdict: 'passed',
    format: 'export',
    lines: 240,
    replayed: 240,
    broken: 0,
    skipped: {},
    ledger: { expected: 240, missing: 0, before: 0 },
    reconciliation: { balanced: true, missing: 0 },
  });
  // The export is in the order of the clicks, so the replay does not sort it.
  expect(stderr).not.toContain('sorted');
  expect(await clicksOf(target.pool)).toEqual(await clicksOf(recorded.pool));
  expect(await outcomesOf(target.pool)).toEqual(await outcomesOf(recorded.pool));
  const again = await pipe('csv');
  expect(again.report).toMatchObject({
    verdict: 'passed',
    lines: 240,
    broken: 0,
    ledger: { expected: 240, missing: 0, before: 240 },
  });
});
