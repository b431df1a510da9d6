import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { beginCheckpoints, moveCheckpoints } from '../../brokers/checkpoints.ts';
import { createMetrics, type ProcessMetrics } from '../../common/telemetry/metrics.ts';
import { addAd } from '../../ledger/accounts/ads.ts';
import { addAdvertiser } from '../../ledger/accounts/advertisers.ts';
import { addCampaign } from '../../ledger/accounts/campaigns.ts';
import { identityOf } from '../../ledger/charge/dead-letters.ts';
import { BatchDispatcher } from '../../processor/dispatch/batch-dispatcher.ts';
import { expectBalanced } from '../support/charge-batch.ts';
import { addAccount, createTestDatabase, type TestDatabase } from '../support/database.ts';
import { silent } from '../support/loggers.ts';
import { TestSpool, unreadableRecord } from '../support/records.ts';

let database: TestDatabase & { drop: () => Promise<void> };
let metrics: ProcessMetrics;
let dispatcher: BatchDispatcher;
let spool: TestSpool;

beforeEach(async () => {
  database = await createTestDatabase();
  metrics = createMetrics();
  dispatcher = new BatchDispatcher(
    database.pool,
    { batchSize: 50, lanes: 1, clickAgeMaxDays: 14, retryAttempts: 1 },
    { metrics, logger: silent, onInvariant: () => {} },
  );
  spool = new TestSpool();
});
afterEach(async () => {
  dispatcher.abort();
  await database.drop();
});

describe('a dispatcher', () => {
  it('reports over-delivery by advertiser: the value of over-budget clicks without the budget-exhausted flag', async () => {
    const { ad, advertiser } = await addAccount(database.pool, { budget: '0', price: '0.25' });
    const francs = await addAdvertiser(database.pool, 'Francs', 'CHF');
    const campaign = await addCampaign(database.pool, francs.id, 'Francs');
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

  it('remembers a click of each transaction, charged or rejected, until the checkpoint has found it', async () => {
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

  it('remembers the dead letter of each transaction that settles no click', async () => {
    const { ad } = await addAccount(database.pool);
    const poison = spool.click({ ad });
    const source = 'test dead letters';
    await beginCheckpoints(database.pool, source, new Map([['a', '1']]));
    const isLost = async () => {
      const moves = [{ partition: 'a', known: '1', next: '1' }];
      return (await moveCheckpoints(database.pool, source, moves, dispatcher.commitProbes())).hasLostCommits;
    };
    await database.pool.query(
      `create function refuse() returns trigger language plpgsql as
       $$ begin if new.click_id = '${poison.click.clickId}' then raise exception 'refused'; end if; return new; end $$`,
    );
    await database.pool.query(
      'create trigger refuse before insert on ledger for each row execute function refuse()',
    );
    const quarantined = dispatcher.submit([poison]);
    await dispatcher.submit([spool.click({ ad: (await addAccount(database.pool)).ad })]);
    await quarantined;
    expect(dispatcher.commitProbes()).toContain(poison.click.clickId);
    dispatcher.forget(dispatcher.commitProbes());

    const from = spool.next();
    for (const garbage of [
      unreadableRecord(Buffer.from('x'), from),
      unreadableRecord(Buffer.from('\'y\\"{},'), null),
      unreadableRecord(null, null),
    ]) {
      await dispatcher.submit([garbage]);
      const identity = identityOf(garbage);
      expect(dispatcher.commitProbes()).toEqual([identity]);
      expect(await isLost()).toBe(false);
      // A copy gets no dead letter, so nothing of its transaction can be lost.
      await dispatcher.submit([garbage]);
      expect(dispatcher.commitProbes()).toEqual([identity]);
      await database.pool.query('delete from dead_letter where identity = $1', [identity]);
      expect(await isLost()).toBe(true);
      dispatcher.forget([identity]);
    }
  });

  it('quarantines malformed bytes as poison if they cannot be stored as malformed', async () => {
    await database.pool.query(
      `create function refuse() returns trigger language plpgsql as $$ begin raise exception 'refused'; end $$`,
    );
    await database.pool.query(
      `create trigger refuse before insert on dead_letter for each row when (new.reason = 'malformed') execute function refuse()`,
    );
    const { ad } = await addAccount(database.pool);
    const clicks = [spool.click({ ad }), spool.click({ ad })];
    const garbage = unreadableRecord(Buffer.from('x'), spool.next());
    await dispatcher.submit([...clicks, garbage, spool.watermark()]);
    const { rows } = await database.pool.query('select sequence, reason, raw from dead_letter');
    expect(rows).toEqual([{ sequence: 3n, reason: 'poison', raw: garbage.value }]);
    expect(await expectBalanced(database.pool)).toMatchObject({ accepted: 3, charged: 2, rejected: 1 });
  });
});
