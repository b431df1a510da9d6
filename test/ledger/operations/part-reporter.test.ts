import { afterEach, expect, it, onTestFinished } from 'vitest';
import { createPartReporter } from '../../../ledger/operations/part-reporter.ts';
import { readParts, reportPart } from '../../../ledger/operations/parts.ts';
import { testDatabase } from '../../support/database.ts';
import { capturedLog } from '../../support/loggers.ts';
import { adServerNumbers, adServerPart } from '../../support/part-reports.ts';
import { startTcpProxy } from '../../support/tcp-proxy.ts';
import { until } from '../../support/until.ts';

const database = testDatabase();
afterEach(async () => {
  await database.pool.query('truncate part');
});

const parts = async () => (await readParts(database.pool)).parts;
const numbers = async () => adServerNumbers();
const problem = { what: 'spool', reason: 'refuses clicks: full', forMs: 61_000 };

async function startReporter(databaseUrl = database.url) {
  const { logger, lines } = capturedLog();
  const reporter = createPartReporter('ad-server', { databaseUrl, opsPort: 8081, logger });
  reporter.start({ problems: () => [problem], numbers });
  await until('a report', async () => (await parts()).length > 0);
  return { reporter, lines };
}

it('A reporter writes the row of its process, with problems as texts', async () => {
  const { reporter, lines } = await startReporter();
  expect(await parts()).toMatchObject([
    {
      ...{ component: 'ad-server', instance: expect.stringMatching(/.:8081$/), state: 'not_ready' },
      problems: ['spool: refuses clicks: full (for 61 s)'],
      startedAt: new Date(Math.floor(performance.timeOrigin)),
    },
  ]);
  await reporter.stop(0);
  expect([await parts(), lines]).toEqual([[], []]);
});

it('A reporter leaves the row of a process that fails, and that of a process that replaced it', async () => {
  const { reporter } = await startReporter();
  await reporter.stop(1);
  const [left] = await parts();
  expect(left).toBeDefined();
  // So that the first report of the second one is waited for.
  await database.pool.query('truncate part');
  const second = await startReporter();
  const replaced = adServerPart({ instance: left?.instance ?? '', startedAt: new Date() });
  // The next report of the reporter is 2 s away.
  await reportPart(database.pool, replaced);
  await second.reporter.stop(0);
  expect(await parts()).toMatchObject([{ startedAt: replaced.startedAt }]);
});

it('A reporter does not wait for a database that hangs, and reports again after it', {
  timeout: 60_000,
}, async () => {
  const proxy = await startTcpProxy(database.url);
  onTestFinished(() => proxy.close());
  const { reporter, lines } = await startReporter(proxy.url);
  proxy.freeze();
  await until('the line', () => lines.length > 0, 30_000);
  expect(lines).toEqual([
    'warn This process cannot report its state to the database and retries; the console cannot show what it does. Clicks are not affected',
  ]);
  expect(await parts()).toMatchObject([{ state: 'no_answer' }]);
  proxy.thaw();
  await until('a report', async () => (await parts())[0]?.state === 'not_ready');
  await until('the second line', () => lines.length === 2);
  proxy.freeze();
  const beganAt = performance.now();
  await reporter.stop(0);
  expect(performance.now() - beganAt).toBeLessThan(2_000);
});
