import { inTransaction, type Pool } from '../common/postgres.ts';
import { BEGIN_SNAPSHOT } from './ledger.ts';

/** One settled click, as it leaves the ledger. Amounts in micros, times as `Date`. */
export type ExportRow = {
  readonly clickId: string | null;
  readonly nonce: string | null;
  readonly advertiserId: number | null;
  readonly campaignId: number | null;
  readonly adId: number | null;
  readonly outcome: string;
  readonly reason: string | null;
  readonly chargedMicros: bigint;
  readonly currency: string | null;
  readonly clickedAt: Date | null;
  readonly settledAt: Date;
  readonly origin: string | null;
  readonly sequence: bigint | null;
  readonly kind: 'impression' | 'evergreen' | null;
};

/** Rows held in memory at once. */
const PAGE_ROWS = 2_000;

/**
 * Reads the ledger by time of settlement, rejected clicks among the others: everything settled in [since, until),
 * from one snapshot, a page at a time. What cannot be read at all has no click id.
 */
export async function exportLedger(
  pool: Pool,
  since: Date,
  until: Date,
  take: (rows: readonly ExportRow[]) => Promise<void>,
): Promise<void> {
  await inTransaction(
    pool,
    async (connection) => {
      await connection.query(
        `declare ledger_export no scroll cursor for
         select settled.*, advertiser.currency from (
           select click_id as "clickId", nonce, advertiser_id as "advertiserId", campaign_id as "campaignId",
             ad_id as "adId", outcome::text, reason, charged_micros as "chargedMicros", clicked_at as "clickedAt",
             settled_at as "settledAt", origin, sequence, case when nonce is null then 'evergreen' else 'impression' end as kind
           from ledger where settled_at >= $1 and settled_at < $2
           union all
           select click_id, nonce, advertiser_id, campaign_id, ad_id, 'rejected', reason, 0, clicked_at, settled_at,
             origin, sequence, case when click_id is null then null when nonce is null then 'evergreen' else 'impression' end
           from dead_letter where settled_at >= $1 and settled_at < $2 and (origin is not null or click_id is not null)
         ) settled left join advertiser on advertiser.id = settled."advertiserId"
         order by "settledAt", "clickId"`,
        [since, until],
      );
      for (;;) {
        const { rows } = await connection.query<ExportRow>(`fetch ${PAGE_ROWS} from ledger_export`);
        if (rows.length === 0) return;
        await take(rows);
      }
    },
    BEGIN_SNAPSHOT,
  );
}
