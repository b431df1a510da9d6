import { afterEach, expect, it, onTestFinished } from 'vitest';
import { parseConfig } from '../../common/config/config.ts';
import { createMetrics } from '../../common/telemetry/metrics.ts';
import { createApp } from '../../console/api/app.ts';
import { createKey } from '../../ledger/access/api-keys.ts';
import { createPartReporter } from '../../ledger/operations/part-reporter.ts';
import { reportPart } from '../../ledger/operations/parts.ts';
import { testDatabase } from '../support/database.ts';
import { silent } from '../support/loggers.ts';
import { adServerPart, consolePart, processorPart } from '../support/part-reports.ts';
import { until } from '../support/until.ts';

const database = testDatabase();
afterEach(async () => {
  await database.pool.query('truncate part');
});

/** Lets an ad server and a processor have reported a minute ago for the last time. */
async function silentParts() {
  for (const part of [adServerPart(), processorPart()]) await reportPart(database.pool, part);
  await database.pool.query("update part set reported_at = now() - interval '1 minute'");
}

/** A console that reports to `databaseUrl` and reads from the database of the test. Returns how to get one of its answers. */
async function startConsole(databaseUrl: string) {
  const reporter = createPartReporter('console', { databaseUrl, opsPort: 8084, logger: silent });
  const { numbers } = consolePart();
  reporter.start({ problems: () => [], numbers: async () => numbers });
  onTestFinished(() => reporter.stop(0));
  const { pool } = database;
  const app = await createApp({
    ...{ pool, longPool: pool, config: parseConfig({}), metrics: createMetrics(), logger: silent },
    reportingState: reporter.reportingState,
  });
  onTestFinished(() => app.close());
  const { key } = await createKey(pool, { name: 'Test key', role: 'admin' });
  const headers = { authorization: `Bearer ${key}` };
  return async (url: string) => (await app.inject({ method: 'GET', url, headers })).json();
}

type Operations = { parts: { component: string; state: string }[]; problems: { code: string }[] };
const codes = ({ problems }: Operations) => problems.map(({ code }) => code);
const statesOf = ({ parts }: Operations) =>
  Object.fromEntries(parts.map(({ component, state }) => [component, state]));

it('While the database is read-only, what the parts do is not known, and none is said to be dead', {
  timeout: 60_000,
}, async () => {
  await silentParts();
  const readOnly = new URL(database.url);
  readOnly.searchParams.set('options', '-c default_transaction_read_only=on');
  const get = await startConsole(readOnly.href);
  const seen = new Set<string>();
  const operations = await until('the problem', async () => {
    const answer = await get('/v1/operations');
    for (const code of codes(answer)) seen.add(code);
    return codes(answer).length > 0 && answer;
  });
  expect([...seen]).toEqual(['TollwayPartsUnknown']);
  expect(operations.problems[0]).toMatchObject({
    ...{ severity: 'page', runbook: '#tollwaydatabasedown', since: expect.any(String) },
    summary:
      'The database gets no reports of the parts, so it is not known what they do: cannot execute INSERT in a read-only transaction',
  });
  expect(statesOf(operations)).toEqual({ 'ad-server': 'unknown', processor: 'unknown' });
  const { health } = await get('/v1/status');
  expect(health).toEqual({
    adServer: expect.stringMatching(/^web-1:8081 is not known: the database has had no report of it since 2/),
    processor: expect.stringContaining('is not known'),
    database: 'gets no reports of the parts: cannot execute INSERT in a read-only transaction',
  });
});

it('A part is dead only after the console could report for ten seconds, as after an outage of the database', {
  timeout: 60_000,
}, async () => {
  await silentParts();
  const get = await startConsole(database.url);
  await until('a report', async () => statesOf(await get('/v1/operations')).console === 'ready');
  const first = await get('/v1/operations');
  expect(codes(first)).toEqual([]);
  expect(statesOf(first)).toMatchObject({ 'ad-server': 'unknown', processor: 'unknown' });
  const dead = await until('the problems', async () => {
    const answer = await get('/v1/operations');
    return codes(answer).length > 0 && answer;
  });
  expect(codes(dead)).toEqual(['TollwayPartDown', 'TollwayPartDown']);
  expect(statesOf(dead)).toMatchObject({ 'ad-server': 'no_answer', console: 'ready' });
});

it('A reader that does not report knows from all reports together that the database takes none', async () => {
  await silentParts();
  const { pool } = database;
  const app = await createApp({
    ...{ pool, longPool: pool, config: parseConfig({}), metrics: createMetrics(), logger: silent },
  });
  onTestFinished(() => app.close());
  const { key } = await createKey(pool, { name: 'Test key', role: 'admin' });
  const headers = { authorization: `Bearer ${key}` };
  const operations = async () => (await app.inject({ method: 'GET', url: '/v1/operations', headers })).json();
  expect(codes(await operations())).toEqual(['TollwayPartsUnknown']);
  await reportPart(pool, processorPart());
  expect(codes(await operations())).toEqual(['TollwayPartDown']);
});
