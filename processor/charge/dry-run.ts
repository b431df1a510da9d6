import { inTransaction, type Pool, RolledBack } from '../../common/postgres/postgres.ts';
import { uuidV7 } from '../../common/uuid.ts';
import { encodeClick, type ReadRecord } from '../../contract/click-event.ts';
import { readRecord } from '../../contract/read-record.ts';
import { readTestAd, type TestAd } from '../../ledger/accounts/ads.ts';
import { BEGIN_CHARGE } from '../../ledger/charge-locks.ts';
import { databaseTime } from '../../ledger/partitions.ts';
import { type ChargeOptions, settle } from './charge-clicks.ts';

/** The price of the click: nearly every budget pays for it. */
const PRICE_MICROS = 1;

/**
 * Whether a click could be charged now: charges a synthetic click in a transaction that is rolled back, so nothing is stored. The result
 * tells a faulty record from a faulty ledger when there is no other click to compare with, as in a function that receives one record.
 *
 * The click has a nonce if `record` has one, and belongs to another advertiser if there is one, but to none in `locked`, whose rows
 * cannot be locked. It must be charged, because a click that is over budget or rejected does not change a budget: a fault of budgets would
 * look like one of the record. If no budget pays for any click, it must not be rejected.
 */
export async function dryRunCharge(
  pool: Pool,
  record: ReadRecord,
  options: ChargeOptions,
  locked: readonly number[] = [],
): Promise<boolean> {
  const advertiserId = record.is === 'click' ? record.click.advertiserId : 0;
  try {
    return await inTransaction(
      pool,
      async (connection) => {
        const ad = await readTestAd(connection, advertiserId, locked);
        if (ad === null) return false;
        const click = syntheticClick(ad, record, await databaseTime(connection));
        const { outcomes } = await settle(connection, [click], options);
        const outcome = outcomes[0]?.outcome;
        return new RolledBack(ad.isPaid ? outcome === 'charged' : outcome === 'over_budget');
      },
      BEGIN_CHARGE,
    );
  } catch {
    return false;
  }
}

function syntheticClick(ad: TestAd, record: ReadRecord, clickedAt: number): ReadRecord {
  const encoded = encodeClick({
    clickId: uuidV7(clickedAt),
    nonce: record.is === 'click' && record.click.nonce !== null ? uuidV7(clickedAt) : null,
    adId: ad.id,
    campaignId: ad.campaignId,
    advertiserId: ad.advertiserId,
    priceMicros: PRICE_MICROS,
    clickedAt,
    invalid: null,
    budgetExhausted: false,
    // Evidence is kept of it too, in the same tables.
    visitorNetwork: '192.0.2.0/24',
    userAgent: 'dry run',
    referrerHost: 'example.com',
  });
  return readRecord({ key: null, value: Buffer.from(encoded) }, 'dry run');
}
