import { type Connection, inTransaction, type Pool, RolledBack } from '../../common/postgres/postgres.ts';
import { uuidV7 } from '../../common/uuid.ts';
import { encodeClick, type ReadRecord, readRecord } from '../../contract/click-event.ts';
import { readAnyAd } from '../../ledger/ads.ts';
import { BEGIN_CHARGE } from '../../ledger/charge-locks.ts';
import { type ChargeOptions, settle } from './charge-clicks.ts';

/**
 * Whether a click could be charged now: charges a synthetic click in a transaction that is rolled back, so nothing is stored. The result
 * tells a faulty record from a faulty ledger when there is no other click to compare with, as in a function that receives one record.
 *
 * The click has a nonce if `record` has one, and belongs to another advertiser if there is one, but to none in `blocked`, whose rows
 * cannot be locked.
 */
export async function dryRunCharge(
  pool: Pool,
  record: ReadRecord,
  options: ChargeOptions,
  blocked: readonly number[] = [],
): Promise<boolean> {
  try {
    return await inTransaction(
      pool,
      async (connection) => {
        const click = await syntheticClick(connection, record, blocked);
        if (click === null) return false;
        await settle(connection, [click], options);
        return new RolledBack(true);
      },
      BEGIN_CHARGE,
    );
  } catch {
    return false;
  }
}

async function syntheticClick(
  connection: Connection,
  record: ReadRecord,
  blocked: readonly number[],
): Promise<ReadRecord | null> {
  const advertiserId = record.is === 'click' ? record.click.advertiserId : 0;
  const ad = await readAnyAd(connection, [advertiserId, ...blocked]);
  if (ad === null) return null;
  const clickedAt = Date.now();
  const encoded = encodeClick({
    clickId: uuidV7(clickedAt),
    nonce: record.is === 'click' && record.click.nonce !== null ? uuidV7(clickedAt) : null,
    adId: ad.id,
    campaignId: ad.campaignId,
    advertiserId: ad.advertiserId,
    priceMicros: ad.priceMicros,
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
