import { afterEach, describe, expect, it } from 'vitest';
import { uuidV7 } from '../../common/uuid.ts';
import { EDGE_INVALID_REASONS } from '../../contract/click-event.ts';
import { listAdvertisers } from '../../ledger/accounts/advertisers.ts';
import { chargeClicks } from '../../processor/charge/charge-clicks.ts';
import { chargeBatch, chargeBatchTwice, expectBalanced } from '../support/charge-batch.ts';
import { addAccount, addAdTo, testDatabase } from '../support/database.ts';
import { clickRecord, TestSpool } from '../support/records.ts';

const database = testDatabase();

afterEach(async () => {
  await expectBalanced(database.pool);
});

async function spentOf(advertiserId: number): Promise<bigint | undefined> {
  return (await listAdvertisers(database.pool)).find(({ id }) => id === advertiserId)?.spentMicros;
}

describe('a click that the budget covers', () => {
  it('is charged its own price, which can differ from the current price of the ad', async () => {
    const { advertiser, ad } = await addAccount(database.pool, { price: '0.25' });
    const records = [clickRecord({ ad }), clickRecord({ ad, priceMicros: 100_000 })];
    expect(await chargeBatchTwice(database.pool, records)).toEqual(['charged', 'charged']);
    expect(await spentOf(advertiser.id)).toBe(350_000n);
  });

  it('has a complete row in the ledger', async () => {
    const { ad } = await addAccount(database.pool);
    const spool = new TestSpool();
    const record = spool.click({ ad, nonce: uuidV7() });
    await chargeBatchTwice(database.pool, [record]);
    const { rows } = await database.pool.query('select * from ledger where click_id = $1', [
      record.click.clickId,
    ]);
    expect(rows).toEqual([
      {
        click_id: record.click.clickId,
        nonce: record.click.nonce,
        spool_id: spool.id,
        sequence: 1n,
        clicked_at: new Date(record.click.clickedAt),
        settled_at: expect.any(Date),
        charged_micros: ad.priceMicros,
        advertiser_id: ad.advertiserId,
        campaign_id: ad.campaignId,
        ad_id: ad.id,
        outcome: 'charged',
        reason: null,
        publisher: null,
      },
    ]);
  });

  it('is a duplicate when the same batch holds a copy of it', async () => {
    const { advertiser, ad } = await addAccount(database.pool);
    const record = clickRecord({ ad });
    const outcomes = await chargeBatchTwice(database.pool, [record, { ...record, position: 'elsewhere' }]);
    expect(outcomes.sort()).toEqual(['charged', 'duplicate']);
    expect(await spentOf(advertiser.id)).toBe(ad.priceMicros);
  });

  it('is charged without a spool id, too, and then counted as unattributed', async () => {
    const { ad } = await addAccount(database.pool);
    const { unattributed, accepted } = await expectBalanced(database.pool);
    await chargeBatchTwice(database.pool, [clickRecord({ ad, from: null })]);
    expect(await expectBalanced(database.pool)).toMatchObject({ unattributed: unattributed + 1, accepted });
  });
});

describe('a click that the budget does not cover', () => {
  it('is over budget, while the next, cheaper one is charged', async () => {
    const {
      advertiser,
      campaign,
      ad: dear,
    } = await addAccount(database.pool, { budget: '1.00', price: '0.60' });
    const cheap = await addAdTo(database.pool, campaign, '0.40');
    const at = Date.now();
    const records = [
      clickRecord({ ad: dear, clickedAt: at }),
      clickRecord({ ad: dear, clickedAt: at + 1 }),
      clickRecord({ ad: cheap, clickedAt: at + 2 }),
      clickRecord({ ad: cheap, clickedAt: at + 3 }),
    ];
    const expected = ['charged', 'over_budget: budget', 'charged', 'over_budget: budget'];
    expect(await chargeBatchTwice(database.pool, records)).toEqual(expected);
    expect(await spentOf(advertiser.id)).toBe(1_000_000n);
  });

  it('is over its campaign’s cap, while another campaign of the advertiser is charged', async () => {
    const { advertiser, ad: capped } = await addAccount(database.pool, { cap: '0.50', price: '0.30' });
    const { rows } = await database.pool.query<{ id: number }>(
      "insert into campaign (advertiser_id, name) values ($1, 'uncapped') returning id",
      [advertiser.id],
    );
    const [free] = rows;
    const other = await addAdTo(database.pool, { id: free?.id ?? 0 }, '0.30');
    const at = Date.now();
    const records = [
      clickRecord({ ad: capped, clickedAt: at }),
      clickRecord({ ad: capped, clickedAt: at + 1 }),
      clickRecord({ ad: other, clickedAt: at + 2 }),
      clickRecord({ ad: capped, priceMicros: 200_000, clickedAt: at + 3 }),
    ];
    expect(await chargeBatchTwice(database.pool, records)).toEqual([
      'charged',
      'over_budget: cap',
      'charged',
      'charged',
    ]);
    expect(await spentOf(advertiser.id)).toBe(800_000n);
  });

  it('counts as over-delivery unless it has the budget-exhausted flag', async () => {
    const { ad, advertiser } = await addAccount(database.pool, { budget: '0.10', price: '0.25' });
    const batch = [clickRecord({ ad }), clickRecord({ ad, budgetExhausted: true }), clickRecord({ ad })];
    const { overDelivery } = await chargeClicks(database.pool, batch, { clickAgeMaxDays: 14 });
    expect(overDelivery).toEqual(new Map([[advertiser.id, { currency: 'USD', micros: 500_000n }]]));
    const again = await chargeClicks(database.pool, batch, { clickAgeMaxDays: 14 });
    expect(again.overDelivery).toEqual(new Map());
  });

  it('is charged in spite of its budget-exhausted flag if the budget was topped up since', async () => {
    const { ad } = await addAccount(database.pool);
    expect(await chargeBatchTwice(database.pool, [clickRecord({ ad, budgetExhausted: true })])).toEqual([
      'charged',
    ]);
  });
});

describe('an invalid click', () => {
  it.each(EDGE_INVALID_REASONS)('judged %s by the ad server costs nothing', async (invalid) => {
    const { advertiser, ad } = await addAccount(database.pool);
    const outcomes = await chargeBatchTwice(database.pool, [clickRecord({ ad, invalid, nonce: uuidV7() })]);
    expect(outcomes).toEqual([`invalid: ${invalid}`]);
    expect(await spentOf(advertiser.id)).toBe(0n);
  });

  it.each(EDGE_INVALID_REASONS)(
    'judged %s spends no nonce: a later click of a person, in another batch, is charged',
    async (invalid) => {
      const { ad } = await addAccount(database.pool);
      const nonce = uuidV7();
      expect(await chargeBatchTwice(database.pool, [clickRecord({ ad, nonce, invalid })])).toEqual([
        `invalid: ${invalid}`,
      ]);
      expect(await chargeBatchTwice(database.pool, [clickRecord({ ad, nonce })])).toEqual(['charged']);
    },
  );
});

describe('an impression link that was charged', () => {
  it('makes a second click in the same batch a repeat; the first in time is charged', async () => {
    const { advertiser, ad } = await addAccount(database.pool);
    const nonce = uuidV7();
    const at = Date.now();
    const records = [3, 1, 2, 4].map((ms) => clickRecord({ ad, nonce, clickedAt: at + ms }));
    const repeat = 'invalid: repeat';
    expect(await chargeBatchTwice(database.pool, records)).toEqual([repeat, 'charged', repeat, repeat]);
    expect(await spentOf(advertiser.id)).toBe(ad.priceMicros);
  });

  it('makes a click in a later batch a repeat, even if that click was earlier', async () => {
    const { ad } = await addAccount(database.pool);
    const nonce = uuidV7();
    const at = Date.now();
    expect(await chargeBatchTwice(database.pool, [clickRecord({ ad, nonce, clickedAt: at })])).toEqual([
      'charged',
    ]);
    const earlier = clickRecord({ ad, nonce, clickedAt: at - 500 });
    expect(await chargeBatchTwice(database.pool, [earlier])).toEqual(['invalid: repeat']);
  });

  it('makes the next click a repeat, even if the first was over budget', async () => {
    const { ad } = await addAccount(database.pool, { budget: '0.20', price: '0.25' });
    const nonce = uuidV7();
    expect(await chargeBatchTwice(database.pool, [clickRecord({ ad, nonce })])).toEqual([
      'over_budget: budget',
    ]);
    const cheap = clickRecord({ ad, nonce, priceMicros: 1 });
    expect(await chargeBatchTwice(database.pool, [cheap])).toEqual(['invalid: repeat']);
  });

  it('is charged once when eight handlers get eight clicks on it at once', async () => {
    const { advertiser, ad } = await addAccount(database.pool);
    const nonce = uuidV7();
    const records = Array.from({ length: 8 }, () => clickRecord({ ad, nonce }));
    const outcomes = await Promise.all(records.map((record) => chargeBatch(database.pool, [record])));
    expect(outcomes.flat().filter((outcome) => outcome === 'charged')).toHaveLength(1);
    expect(outcomes.flat().filter((outcome) => outcome === 'invalid: repeat')).toHaveLength(7);
    expect(new Set(await chargeBatch(database.pool, records))).toEqual(new Set(['duplicate']));
    expect(await spentOf(advertiser.id)).toBe(ad.priceMicros);
  });
});

it('the charge settles an empty batch, and one of watermarks alone', async () => {
  const spool = new TestSpool();
  expect(await chargeBatchTwice(database.pool, [])).toEqual([]);
  expect(await chargeBatchTwice(database.pool, [spool.watermark()])).toEqual(['watermark']);
});
