import { expect, it } from 'vitest';
import { parseConfig } from '../../common/config/config.ts';
import { createMetrics } from '../../common/telemetry/metrics.ts';
import { runMaintenanceLoop } from '../../processor/maintenance-loop.ts';
import { createRuntime } from '../../processor/runtime.ts';
import { chargeBatch } from '../support/charge-batch.ts';
import { addAccount, createTestDatabase } from '../support/database.ts';
import { capturedLog } from '../support/loggers.ts';
import { clickRecord } from '../support/records.ts';
import { GONE, moveToTimeZone } from '../support/time-zones.ts';

it.each([
  [
    'a task after the partitions fails',
    'The ledger cannot be maintained; the processor tries again. Charging does not wait for it',
  ],
  [
    'partitions cannot be created',
    'The day partitions cannot be created; the processor tries again. No click can be charged for a day without a partition',
  ],
])('the log says what it means for clicks if %s', async (cause, line) => {
  const database = await createTestDatabase();
  const { advertiser, ad } = await addAccount(database.pool);
  await chargeBatch(database.pool, [clickRecord({ ad })]);
  if (cause.startsWith('partitions')) await database.pool.query('alter table ledger_window rename to gone');
  else await moveToTimeZone(database.pool, advertiser.id, GONE);
  const { logger, lines } = capturedLog();
  const runtime = createRuntime('test', parseConfig({ DATABASE_URL: database.url }), {
    ...{ metrics: createMetrics(), logger, onInvariant: () => {} },
  });
  const loop = runMaintenanceLoop(runtime);
  try {
    await expect.poll(() => lines).toEqual([`warn ${line}`]);
  } finally {
    await loop.stop();
    await runtime.pool.end();
    await database.drop();
  }
});
