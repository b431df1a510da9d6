import { join } from 'node:path';
import { expect, it, onTestFinished, vi } from 'vitest';
import { AdCatalog } from '../../ad-server/catalog/ad-catalog.ts';
import { createMetrics } from '../../common/telemetry/metrics.ts';
import { impressionLink } from '../../contract/link-token.ts';
import { chargeBatch } from '../support/charge-batch.ts';
import { addAccount, addAdTo, testDatabase } from '../support/database.ts';
import { DAY_MS } from '../support/link-samples.ts';
import { silent } from '../support/loggers.ts';
import { clickRecord } from '../support/records.ts';
import { redirectFixture, sign } from '../support/redirect-fixture.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';
import { until } from '../support/until.ts';

const database = testDatabase();
/** Longer than the test, so that no change is found by polling. */
const NEVER_MS = 600_000;

it('visitors go to the fallback URL from the notification of a reached daily cap to the end of the day, without another one', async () => {
  const { campaign } = await addAccount(database.pool, {
    price: '0.25',
    dailyCap: '0.25',
    timeZone: 'Europe/Berlin',
  });
  await database.pool.query("update campaign set fallback_url = 'https://fallback.example/' where id = $1", [
    campaign.id,
  ]);
  const ad = await addAdTo(database.pool, campaign);
  const catalog = new AdCatalog(
    {
      databaseUrl: database.url,
      pollMs: NEVER_MS,
      ageWarnMs: NEVER_MS,
      snapshotPath: join(temporaryFolder(), 'ads'),
    },
    { metrics: createMetrics(), logger: silent },
  );
  catalog.start();
  onTestFinished(() => catalog.close());
  await until('the ad', () => catalog.get(ad.id));
  const fixture = redirectFixture();
  const visit = () => {
    fixture.catalog.set(42, catalog.get(ad.id));
    fixture.send({ url: `/c/${sign(impressionLink(42, 3 * DAY_MS))}` });
    const { budgetExhausted } = fixture.take();
    const answer = fixture.answers.pop();
    return { budgetExhausted, host: answer?.is === 'redirect' ? new URL(answer.location).host : null };
  };
  expect(visit()).toEqual({ budgetExhausted: false, host: 'example.com' });

  expect(await chargeBatch(database.pool, [clickRecord({ ad })])).toEqual(['charged']);
  await until('the notification', () => catalog.get(ad.id)?.exhaustedUntil);
  const { rows } = await database.pool.query<{ midnight: Date }>(
    `select day_start((now() at time zone 'Europe/Berlin')::date + 1, 'Europe/Berlin') as midnight`,
  );
  const midnight = rows[0]?.midnight.getTime() ?? 0;
  expect(visit()).toEqual({ budgetExhausted: true, host: 'fallback.example' });

  vi.useFakeTimers({ toFake: ['Date'] });
  onTestFinished(() => void vi.useRealTimers());
  vi.setSystemTime(midnight - 1);
  expect(visit()).toEqual({ budgetExhausted: true, host: 'fallback.example' });
  vi.setSystemTime(midnight);
  expect(visit()).toEqual({ budgetExhausted: false, host: 'example.com' });
});
