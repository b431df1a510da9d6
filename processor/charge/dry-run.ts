import { type Connection, inTransaction, type Pool, RolledBack } from '../../common/postgres/postgres.ts';
import { uuidV7 } from '../../common/uuid.ts';
import { encodeClick, type ReadRecord, readRecord } from '../../contract/click-event.ts';
import { readAnyAd } from '../../ledger/ads.ts';
import { BEGIN_CHARGE } from '../../ledger/store.ts';
import { type ChargeOptions, settle } from './charge-clicks.ts';

/**
 * Whether a click could be charged now. A click made for this purpose is charged in a transaction that is rolled back, so nothing is
 * stored. The result tells a faulty record from a faulty ledger where no other click passes by: a function that receives one record has
 * no other record to compare it with.
 *
 * The click is of the kind of `record`, with or without a nonce, and of another advertiser where there is one, but of none in `blocked`,
 * whose rows cannot be locked.
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
        const click = await anyClick(connection, record, blocked);
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

async function anyClick(
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
    visitorNetwork: null,
    userAgent: null,
    referrerHost: null,
  });
  return readRecord({ key: null, value: Buffer.from(encoded) }, 'dry run');
}
