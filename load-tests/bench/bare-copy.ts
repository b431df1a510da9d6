import { memoize } from '../../common/memoize.ts';
import { inTransaction, type Pool } from '../../common/postgres/postgres.ts';
import type { ReadClick } from '../../contract/click-event.ts';
import { CopyRows, sendRows } from '../../ledger/charge/copy-encoder.ts';
import { userAgentId } from '../../ledger/charge/user-agents.ts';
import { listPartitionDays, PARTITIONED, type Partitioned, partitionName } from '../../ledger/partitions.ts';

const LEDGER_COLUMNS =
  'click_id, nonce, spool_id, sequence, clicked_at, settled_at, charged_micros, advertiser_id, campaign_id, ad_id, outcome, reason, publisher';
const EVIDENCE_COLUMNS = 'click_id, user_agent_id, network, referrer_host, sub_ids';

const idOf = memoize(2_000, userAgentId);

/**
 * Creates the tables of the reference, `bare_ledger`, `bare_spent_nonce` and `bare_click_evidence`, with the columns, defaults, constraints,
 * keys, indexes and partitions of the tables that they are named after.
 */
export async function makeBareTables(pool: Pool): Promise<void> {
  for (const table of PARTITIONED) await makeBareTable(pool, table);
}

async function makeBareTable(pool: Pool, table: Partitioned): Promise<void> {
  const key = table === 'spent_nonce' ? 'nonce' : 'click_id';
  await pool.query(`create table bare_${table} (like ${table} including all) partition by range (${key})`);
  const connection = await pool.connect();
  try {
    for (const day of await listPartitionDays(connection, table)) {
      const partition = partitionName(table, day);
      const { rows } = await connection.query<{ bound: string }>(
        'select pg_get_expr(relpartbound, oid) as bound from pg_class where oid = $1::regclass',
        [partition],
      );
      await connection.query(`create table bare_${partition} partition of bare_${table} ${rows[0]?.bound}`);
    }
  } finally {
    connection.release();
  }
}

/**
 * The reference: writes the rows of a batch with one binary `COPY` for each table, without any other work of the handler. Without
 * `hasNonces`, it leaves out the rows of spent nonces.
 */
export async function copyBatch(pool: Pool, batch: readonly ReadClick[], hasNonces: boolean): Promise<void> {
  const ledger = new CopyRows(13);
  const spentNonces = new CopyRows(2);
  const evidence = new CopyRows(5);
  for (const { click, from } of batch) {
    ledger.row();
    ledger.uuid(click.clickId);
    ledger.uuid(click.nonce);
    ledger.uuid(from?.spoolId ?? null);
    ledger.int8(from?.sequence ?? null);
    ledger.timestamp(click.clickedAt);
    // The default of the column would call a function for each row.
    ledger.timestamp(click.clickedAt);
    ledger.int8(click.priceMicros);
    ledger.int4(click.advertiserId);
    ledger.int4(click.campaignId);
    ledger.int4(click.adId);
    ledger.text('charged');
    ledger.text(null);
    ledger.text(click.publisher ?? null);
    if (hasNonces && click.nonce !== null) {
      spentNonces.row();
      spentNonces.uuid(click.nonce);
      spentNonces.uuid(click.clickId);
    }
    const id = idOf(click.userAgent ?? '');
    evidence.row();
    evidence.uuid(click.clickId);
    evidence.int8Halves(id.high, id.low);
    evidence.text(click.visitorNetwork);
    evidence.text(click.referrerHost);
    evidence.jsonb(click.subIds ?? null);
  }
  await inTransaction(pool, (connection) =>
    sendRows(connection, [
      { rows: ledger, statement: `copy bare_ledger (${LEDGER_COLUMNS}) from stdin (format binary)` },
      {
        rows: spentNonces,
        statement: 'copy bare_spent_nonce (nonce, click_id) from stdin (format binary)',
      },
      {
        rows: evidence,
        statement: `copy bare_click_evidence (${EVIDENCE_COLUMNS}) from stdin (format binary)`,
      },
    ]),
  );
}
