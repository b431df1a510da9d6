import type { Pool } from '../../common/postgres/postgres.ts';
import type { ReadClick } from '../../contract/click-event.ts';
import { CopyRows } from '../../ledger/copy-encoder.ts';
import { listPartitionDays, partitionName } from '../../ledger/partitions.ts';

const COLUMNS =
  'click_id, nonce, spool_id, sequence, clicked_at, charged_micros, advertiser_id, campaign_id, ad_id, outcome, reason, publisher';

/**
 * Creates the table of the reference, `bare_ledger`, with the columns, defaults, constraints, key, indexes and daily partitions of the ledger.
 */
export async function makeBareLedger(pool: Pool): Promise<void> {
  await pool.query('create table bare_ledger (like ledger including all) partition by range (click_id)');
  const connection = await pool.connect();
  try {
    for (const day of await listPartitionDays(connection, 'ledger')) {
      const partition = partitionName('ledger', day);
      const { rows } = await connection.query<{ bound: string }>(
        'select pg_get_expr(relpartbound, oid) as bound from pg_class where oid = $1::regclass',
        [partition],
      );
      await connection.query(`create table bare_${partition} partition of bare_ledger ${rows[0]?.bound}`);
    }
  } finally {
    connection.release();
  }
}

/** The reference: writes the ledger rows of a batch with one binary `COPY`, without any other work of the handler. */
export async function copyBatch(pool: Pool, batch: readonly ReadClick[]): Promise<void> {
  const rows = new CopyRows(12);
  for (const { click, from } of batch) {
    rows.row();
    rows.uuid(click.clickId);
    rows.uuid(click.nonce);
    rows.uuid(from?.spoolId ?? null);
    rows.int8(from?.sequence ?? null);
    rows.timestamp(click.clickedAt);
    rows.int8(click.priceMicros);
    rows.int4(click.advertiserId);
    rows.int4(click.campaignId);
    rows.int4(click.adId);
    rows.text('charged');
    rows.text(null);
    rows.text(click.publisher ?? null);
  }
  const connection = await pool.connect();
  try {
    await rows.send(connection, `copy bare_ledger (${COLUMNS}) from stdin (format binary)`);
  } finally {
    connection.release();
  }
}
