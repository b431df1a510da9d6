import { expect, it } from 'vitest';
import { parseConfig } from '../../common/config/config.ts';
import { createMetrics } from '../../common/telemetry/metrics.ts';
import { describeProblem, OpenProblems } from '../../common/telemetry/problems.ts';
import { databaseGauges } from '../../processor/database-gauges.ts';
import { createTestDatabase } from '../support/database.ts';
import { capturedLog } from '../support/loggers.ts';

it('A database without the tables stays a problem until they are there', async () => {
  const database = await createTestDatabase();
  const { logger, lines } = capturedLog();
  const metrics = createMetrics('processor');
  const problems = new OpenProblems();
  const gauges = databaseGauges(database.pool, {
    ...{ metrics, logger, problems, stopping: new AbortController().signal, answerMsMax: 3_000 },
    advertisersMax: parseConfig({}).METRICS_ADVERTISERS_MAX,
  });
  try {
    await database.pool.query('alter table advertiser rename to gone');
    for (let reads = 0; reads < 3; reads += 1) await gauges.read();
    expect(lines).toEqual([
      'warn The database answers the processor with an error; clicks wait in the broker. Check that DATABASE_URL names the right database and role, and run npm run migrate, which adds missing tables and grants',
    ]);
    expect(gauges.isUnusable()).toBe(true);
    expect(problems.list().map(describeProblem)).toEqual([
      'database: it answers with an error: relation "advertiser" does not exist',
    ]);

    await database.pool.query('alter table gone rename to advertiser');
    await gauges.read();
    expect(lines.slice(1)).toEqual(['warn The database answers the processor again']);
    expect(gauges.isUnusable()).toBe(false);
    expect(problems.list()).toEqual([]);
  } finally {
    await database.drop();
  }
});
