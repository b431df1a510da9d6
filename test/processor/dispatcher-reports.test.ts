import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createMetrics, type ProcessMetrics } from '../../common/telemetry/metrics.ts';
import { addAd } from '../../ledger/ads.ts';
import { addAdvertiser } from '../../ledger/advertisers.ts';
import { addCampaign } from '../../ledger/campaigns.ts';
import { BatchDispatcher } from '../../processor/dispatch/batch-dispatcher.ts';
import {
  addAccount,
  createTestDatabase,
  silent,
  type TestDatabase,
  TestSpool,
  unreadableRecord,
} from '../support/database.ts';
import { expectBalanced } from '../support/deliver.ts';

let database: TestDatabase & { drop: () => Promise<void> };
let metrics: ProcessMetrics;
let dispatcher: BatchDispatcher;
let spool: TestSpool;

beforeEach(async () => {
  database = await createTestDatabase();
  metrics = createMetrics();
  dispatcher = new BatchDispatcher(
    database.pool,
    { batchSize: 50, lanes: 1, clickAgeMaxDays: 14, retryAttempts: 1, bisectOnError: false },
    { metrics, logger: silent, onInvariant: () => {} },
  );
  spool = new TestSpool();
});
afterEach(async () => {
  dispatcher.abort();
  await database.drop();
});

describe('a host', () => {
  it('reports the value of clicks over budget that no budget-exhausted flag had marked, by advertiser', async () => {
    const { ad, advertiser } = await addAccount(database.pool, { budget: '0', price: '0.25' });
    const francs = await addAdvertiser(database.pool, 'Francs', 'CHF');
    const campaign = await addCampaign(database.pool, francs.id, 'Francs', null, null);
    const other = await addAd(database.pool, campaign.id, 2_000_000n, 'https://example.com/');
    await dispatcher.submit([
      spool.click({ ad }),
      spool.click({ ad, budgetExhausted: true }),
      spool.click({ ad }),
      spool.click({ ad: other }),
    ]);
    const { values } = await metrics.overDelivery.get();
    expect(values).toEqual([
      { labels: { advertiser: advertiser.id, currency: 'USD' }, value: 0.5 },
      { labels: { advertiser: francs.id, currency: 'CHF' }, value: 2 },
    ]);
  });

  it('remembers a click of each transaction, charged or rejected, until it is told that it was found', async () => {
    const { ad } = await addAccount(database.pool);
    const charged = spool.click({ ad });
    const rejected = spool.click({ ad: { ...ad, id: 2_000_000_000 } });
    await dispatcher.submit([charged]);
    const first = dispatcher.commitProbes();
    expect(first).toEqual([charged.click.clickId]);
    await dispatcher.submit([charged, spool.watermark()]);
    expect(dispatcher.commitProbes()).toEqual(first);
    await dispatcher.submit([rejected]);
    dispatcher.forget(first);
    expect(dispatcher.commitProbes()).toEqual([rejected.click.clickId]);
  });

  it('keeps every record of a batch that it gives up whole, bytes that are no click too', async () => {
    const { ad } = await addAccount(database.pool);
    await database.pool.query(
      `create function refuse() returns trigger language plpgsql as $$ begin raise exception 'refused'; end $$`,
    );
    const clicks = [spool.click({ ad }), spool.click({ ad })];
    const garbage = unreadableRecord(Buffer.from('x'), spool.next());
    await database.pool.query(
      `create trigger refuse before insert on ledger for each row when (new.sequence = 1) execute function refuse()`,
    );
    await dispatcher.submit([...clicks, garbage, spool.watermark()]);
    const { rows } = await database.pool.query<{ sequence: bigint; reason: string }>(
      'select sequence, reason from dead_letter order by sequence',
    );
    expect(rows).toEqual([1n, 2n, 3n].map((sequence) => ({ sequence, reason: 'poison' })));
    // The watermark went with the batch: the next one says the same.
    await dispatcher.submit([spool.watermark()]);
    expect(await expectBalanced(database.pool)).toMatchObject({ accepted: 3, rejected: 3 });
  });
});
