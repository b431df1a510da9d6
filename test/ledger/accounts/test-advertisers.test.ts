import { expect, it, onTestFinished, vi } from 'vitest';
import { createMetrics } from '../../../common/telemetry/metrics.ts';
import { OpenProblems } from '../../../common/telemetry/problems.ts';
import { addAd } from '../../../ledger/accounts/ads.ts';
import { addAdvertiser, listAdvertisers, setAdvertiserStatus } from '../../../ledger/accounts/advertisers.ts';
import { addBudgetEntry } from '../../../ledger/accounts/budget-entries.ts';
import { readCampaignCaps } from '../../../ledger/accounts/campaign-caps.ts';
import { addCampaign, listCampaigns, updateCampaign } from '../../../ledger/accounts/campaigns.ts';
import { beginTestRun } from '../../../ledger/accounts/test-advertisers.ts';
import { readAdvertiserNumbers } from '../../../ledger/operations/advertiser-numbers.ts';
import { chargeClicks } from '../../../processor/charge/charge-clicks.ts';
import { databaseGauges } from '../../../processor/database-gauges.ts';
import { expectBalanced } from '../../support/charge-batch.ts';
import { addAccount, testDatabase } from '../../support/database.ts';
import { silent } from '../../support/loggers.ts';
import { clickRecord } from '../../support/records.ts';

const database = testDatabase();
const addTest = () => addAdvertiser(database.pool, 'Load test', 'USD', 'UTC', true);
const statusOf = async (id: number) =>
  (await listAdvertisers(database.pool, { all: true })).find((advertiser) => advertiser.id === id)?.status;

it('a load test archives what earlier ones left behind, and nothing of those under way', async () => {
  const { id: left } = await addTest();
  const { advertiser } = await addAccount(database.pool);
  const killed = await beginTestRun(database.pool);
  expect(await statusOf(left)).toBe('archived');
  expect(await statusOf(advertiser.id)).toBe('active');
  const { id: lost } = await addTest();

  const second = await beginTestRun(database.pool);
  expect(await statusOf(lost)).toBe('active');
  const { id: own } = await addTest();
  await second.archive([own]);
  expect([await statusOf(own), await statusOf(lost)]).toEqual(['archived', 'active']);
  second.end();

  // The connection of a process that is killed is closed like this, too.
  killed.end();
  await expect
    .poll(async () => {
      const third = await beginTestRun(database.pool);
      third.end();
      return statusOf(lost);
    })
    .toBe('archived');
});

it('advertisers of load tests, and archived ones, are in no list and no metric', async () => {
  const { id: test } = await addTest();
  await addBudgetEntry(database.pool, test, 'top_up', 250_000n);
  const campaign = await addCampaign(database.pool, test, 'Load test');
  const ad = await addAd(database.pool, campaign.id, 250_000n, 'https://example.com/');
  const { advertiser, ad: archivedAd } = await addAccount(database.pool, { budget: '0' });
  const { advertiser: active } = await addAccount(database.pool, { budget: '1.00' });
  const clicks = [clickRecord({ ad }), clickRecord({ ad }), clickRecord({ ad: archivedAd })];
  const { overDelivery } = await chargeClicks(database.pool, clicks, { clickAgeMaxDays: 14 });
  expect([...overDelivery.keys()]).toEqual([advertiser.id]);

  const metrics = createMetrics();
  const gauges = databaseGauges(database.pool, {
    metrics,
    logger: silent,
    problems: new OpenProblems(),
    stopping: new AbortController().signal,
    answerMsMax: 10_000,
    advertisersMax: 100,
  });
  const advertisersOf = async (metric: { get: () => Promise<{ values: { labels: object }[] }> }) =>
    (await metric.get()).values.map(({ labels }) => 'advertiser' in labels && labels.advertiser);
  await gauges.read();
  expect(await advertisersOf(metrics.overDelivery)).toEqual(
    expect.arrayContaining([advertiser.id, active.id]),
  );
  expect((await listCampaigns(database.pool)).map(({ advertiserId }) => advertiserId)).not.toContain(test);
  await setAdvertiserStatus(database.pool, advertiser.id, 'archived');
  // Budgets are read again after 5 s.
  const later = performance.now() + 10_000;
  vi.spyOn(performance, 'now').mockReturnValue(later);
  onTestFinished(() => void vi.restoreAllMocks());
  await gauges.read();
  for (const metric of [
    metrics.budgetRemaining,
    metrics.budgetSpent,
    metrics.advertiserInfo,
    metrics.overDelivery,
  ]) {
    const ids = await advertisersOf(metric);
    expect(ids).toContain(active.id);
    expect(ids).not.toContain(test);
    expect(ids).not.toContain(advertiser.id);
  }
  await expectBalanced(database.pool);
});

it('paces of archived campaigns, and of load tests, are in no metric', async () => {
  const pacing = { dailyCapMicros: 1_000_000n, pacing: 'even' } as const;
  const { id: test } = await addTest();
  await addCampaign(database.pool, test, 'Load test', pacing);
  const { advertiser } = await addAccount(database.pool);
  const running = await addCampaign(database.pool, advertiser.id, 'Running', pacing);
  const archived = await addCampaign(database.pool, advertiser.id, 'Archived', pacing);
  await updateCampaign(database.pool, archived.id, { status: 'archived' });
  const paces = async () => {
    const ids = (await readAdvertiserNumbers(database.pool)).map(({ id }) => id);
    return (await readCampaignCaps(database.pool, ids, 100)).map(({ campaignId }) => campaignId);
  };
  expect(await paces()).toEqual([running.id]);
  await setAdvertiserStatus(database.pool, advertiser.id, 'archived');
  expect(await paces()).toEqual([]);
});
