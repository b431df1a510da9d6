import { describe, expect, it } from 'vitest';
import { inTransaction } from '../../common/postgres/postgres.ts';
import { uuidV7 } from '../../common/uuid.ts';
import { settle } from '../../processor/charge/charge-clicks.ts';
import {
  chargeBatch,
  chargeBatchTwice,
  expectBalanced,
  outcomeText,
  rowCountsOf,
  shuffle,
  untilWaitingForLock,
} from '../support/charge-batch.ts';
import { addAccount, testDatabase } from '../support/database.ts';
import { clickRecord, type NamedAd, TestSpool, unreadableRecord } from '../support/records.ts';

const database = testDatabase({ poolSize: 20 });
const OPTIONS = { clickAgeMaxDays: 14 };

function count(outcomes: readonly string[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const outcome of outcomes) counts[outcome] = (counts[outcome] ?? 0) + 1;
  return counts;
}

async function accounts(howMany: number, terms: { budget?: string; price?: string } = {}) {
  return Promise.all(Array.from({ length: howMany }, () => addAccount(database.pool, terms)));
}

/** Starts to deliver a click, and resolves when the handler waits for a lock. */
async function deliverUntilItWaits(ad: NamedAd) {
  const click = clickRecord({ ad });
  const delivered = chargeBatch(database.pool, [click]);
  await untilWaitingForLock(database.pool);
  return { click, delivered };
}

describe('the same batch with eight handlers at once', () => {
  it('is charged once', async () => {
    const known = await accounts(6, { budget: '5.00', price: '0.25' });
    const spool = new TestSpool();
    const nonces = Array.from({ length: 20 }, () => uuidV7());
    const clicks = Array.from({ length: 180 }, (_, index) => {
      const ad = known[index % known.length]?.ad;
      if (!ad) throw new Error('Expected an ad');
      const nonce = index % 3 === 0 ? (nonces[index % nonces.length] ?? null) : null;
      return spool.click({ ad: index % 50 === 49 ? { ...ad, id: 2_000_000_000 } : ad, nonce });
    });
    const garbage = Array.from({ length: 5 }, (_, index) =>
      unreadableRecord(Buffer.from([index]), spool.next()),
    );
    const batch = [...clicks, ...garbage, spool.watermark()];
    const deliveries = Array.from({ length: 8 }, () => chargeBatch(database.pool, batch));
    const outcomes = count((await Promise.all(deliveries)).flat());
    const { duplicate = 0, watermark = 0, ...settled } = outcomes;
    expect(watermark).toBe(8);
    expect(duplicate).toBe(7 * 185);
    expect(Object.values(settled).reduce((sum, clicksOf) => sum + clicksOf, 0)).toBe(185);
    expect(settled).toMatchObject({ 'rejected: malformed': 5, 'rejected: unknown_ad': 3 });
    const reconciliation = await expectBalanced(database.pool);
    expect(reconciliation.spools.find((found) => found.spoolId === spool.id)).toMatchObject({
      accepted: 185,
    });
    expect(new Set(await chargeBatch(database.pool, batch))).toEqual(new Set(['duplicate', 'watermark']));
  });
});

describe('a batch of malformed records with eight handlers at once', () => {
  it('gets one dead letter for each record, although no lock of an advertiser orders the handlers', async () => {
    const spool = new TestSpool();
    const garbage = Array.from({ length: 100 }, () => unreadableRecord(Buffer.from('x'), spool.next()));
    const deliveries = Array.from({ length: 8 }, () => chargeBatch(database.pool, garbage));
    expect(count((await Promise.all(deliveries)).flat())).toEqual({
      'rejected: malformed': 100,
      duplicate: 700,
    });
    const reconciliation = await expectBalanced(database.pool);
    expect(reconciliation.spools.find((found) => found.spoolId === spool.id)).toMatchObject({
      accepted: 100,
      rejected: 100,
    });
  });
});

describe('many batches over the same advertisers at once', () => {
  it('settle without a deadlock, and the books balance', async () => {
    const known = await accounts(20, { budget: '3.00', price: '0.10' });
    const spool = new TestSpool();
    const batches = Array.from({ length: 60 }, () =>
      shuffle(known).map(({ ad }) => spool.click({ ad, nonce: uuidV7() })),
    );
    // `settle`, because `chargeClicks` retries after a deadlock and would hide it.
    const outcomes = await Promise.all(
      batches.map((batch) =>
        inTransaction(database.pool, (connection) => settle(connection, batch, OPTIONS)),
      ),
    );
    expect(count(outcomes.flatMap((settlement) => settlement.outcomes.map(outcomeText)))).toEqual({
      charged: 600,
      'over_budget: budget': 600,
    });
    expect(
      (await chargeBatchTwice(database.pool, batches.flat())).every((outcome) => outcome === 'duplicate'),
    ).toBe(true);
    await expectBalanced(database.pool);
  });

  it('settle malformed records and clicks of unknown ads once each', async () => {
    const known = await accounts(8, { budget: '1.00', price: '0.30' });
    const spool = new TestSpool();
    const garbage = Array.from({ length: 30 }, (_, index) =>
      unreadableRecord(Buffer.from([index]), spool.next()),
    );
    const batches = known.flatMap(({ ad }) =>
      Array.from({ length: 4 }, () => [
        ...garbage,
        spool.click({ ad }),
        spool.click({ ad: { ...ad, id: 2_000_000_000 } }),
        spool.click({ ad }),
      ]),
    );
    const outcomes = (await Promise.all(batches.map((batch) => chargeBatch(database.pool, batch)))).flat();
    const { charged, ...rest } = count(outcomes);
    expect({ charged, ...rest }).toEqual({
      charged: 8 * 3,
      'over_budget: budget': 8 * 5,
      'rejected: malformed': 30,
      'rejected: unknown_ad': 32,
      duplicate: 31 * 30,
    });
    await expectBalanced(database.pool);
  });
});

describe('a click of an ad that is being created', () => {
  it('waits for the ad, and is charged', async () => {
    const { advertiser, campaign, ad } = await addAccount(database.pool);
    // Inserted by SQL, so that the id is known before the commit and the advertiser is not locked.
    const { click, delivered } = await inTransaction(database.pool, async (making) => {
      const { rows } = await making.query<{ id: number }>(
        `insert into ad (campaign_id, advertiser_id, price_micros, url_template)
         values ($1, $2, 250000, 'https://example.com/') returning id`,
        [campaign.id, advertiser.id],
      );
      return deliverUntilItWaits({ ...ad, id: rows[0]?.id ?? 0 });
    });
    expect(await delivered).toEqual(['charged']);
    expect(await rowCountsOf(database.pool, click.click.clickId)).toEqual([1, 0]);
  });

  it('is settled by a second attempt if its advertiser is being created, too', async () => {
    const { click, delivered } = await inTransaction(database.pool, async (making) => {
      const { rows } = await making.query<{ ad: number; campaign: number; advertiser: number }>(
        `with a as (insert into advertiser (name, currency, budget_micros) values ('late', 'USD', 0) returning id),
           c as (insert into campaign (advertiser_id, name) select id, 'late' from a returning id, advertiser_id),
           d as (insert into ad (campaign_id, advertiser_id, price_micros, url_template)
             select id, advertiser_id, 250000, 'https://example.com/' from c returning *)
         select id as ad, campaign_id as campaign, advertiser_id as advertiser from d`,
      );
      const { ad = 0, campaign = 0, advertiser = 0 } = rows[0] ?? {};
      return deliverUntilItWaits({
        id: ad,
        campaignId: campaign,
        advertiserId: advertiser,
        priceMicros: 250_000n,
      });
    });
    expect(await delivered).toEqual(['over_budget: budget']);
    expect(await rowCountsOf(database.pool, click.click.clickId)).toEqual([1, 0]);
  });

  it('is never both rejected and charged, however its copies race with the ad', async () => {
    for (let round = 0; round < 15; round += 1) {
      const { rows } = await database.pool.query<{ advertiser: number; campaign: number; ad: number }>(
        `select (select last_value::int from advertiser_id_seq) as advertiser,
           (select last_value::int from campaign_id_seq) as campaign, (select last_value::int from ad_id_seq) as ad`,
      );
      const [last] = rows;
      if (!last) throw new Error('Expected the last ids');
      const next = { id: last.ad + 1, campaignId: last.campaign + 1, advertiserId: last.advertiser + 1 };
      const click = clickRecord({ ad: { ...next, priceMicros: 250_000n } });
      const copies = async () => {
        for (let copy = 0; copy < 4; copy += 1) await chargeBatch(database.pool, [click]);
      };
      const [{ ad }] = await Promise.all([addAccount(database.pool), copies(), copies(), copies()]);
      expect(ad).toMatchObject(next);
      const [ledger, letters] = await rowCountsOf(database.pool, click.click.clickId);
      expect(ledger + letters).toBe(1);
    }
    await expectBalanced(database.pool);
  });
});

describe('a click without a key of an unknown advertiser', () => {
  it('gets one dead letter, although two handlers read it at two positions at the same time', async () => {
    const nowhere = { id: 2_000_000_000, campaignId: 1, advertiserId: 2_000_000_000, priceMicros: 1n };
    const click = clickRecord({ ad: nowhere, from: null });
    const { delivered } = await inTransaction(database.pool, async (other) => {
      await settle(other, [click], OPTIONS);
      const copy = { ...click, position: 'another place' };
      const late = inTransaction(database.pool, (connection) => settle(connection, [copy], OPTIONS));
      await Promise.race([late, untilWaitingForLock(database.pool)]);
      return { delivered: late };
    });
    expect((await delivered).outcomes.map(outcomeText)).toEqual(['duplicate']);
    expect(await rowCountsOf(database.pool, click.click.clickId)).toEqual([0, 1]);
  });
});

describe('malformed records with keys of two spools', () => {
  it('lock the spools in one order, so that no two handlers wait for each other', async () => {
    const [low, high] = [new TestSpool(), new TestSpool()].sort((a, b) => (a.id < b.id ? -1 : 1));
    if (!low || !high) throw new Error('Expected two spools');
    const garbage = [high, low].map((spool) => unreadableRecord(Buffer.from('x'), spool.next()));
    const { settled } = await inTransaction(database.pool, async (holder) => {
      await holder.query('select pg_advisory_xact_lock(hashtextextended($1, 0))', [low.id]);
      const waiting = inTransaction(database.pool, (connection) => settle(connection, garbage, OPTIONS));
      await untilWaitingForLock(database.pool);
      const { rows } = await holder.query<{ free: boolean }>(
        'select pg_try_advisory_xact_lock(hashtextextended($1, 0)) as free',
        [high.id],
      );
      expect(rows).toEqual([{ free: true }]);
      return { settled: waiting };
    });
    expect((await settled).outcomes.map(outcomeText)).toEqual(['rejected: malformed', 'rejected: malformed']);
  });
});
