import type { Pool } from '../common/postgres/postgres.ts';

/** What the ledger knows of one click. Amounts in micros. */
export type FoundClick = {
  readonly clickId: string;
  readonly outcome: string;
  /** Why it was not charged; `null` for a charged click. */
  readonly reason: string | null;
  readonly chargedMicros: bigint;
  /** What was credited later. */
  readonly creditedMicros: bigint;
  readonly currency: string | null;
  readonly advertiserId: number | null;
  readonly campaignId: number | null;
  readonly adId: number | null;
  readonly clickedAt: Date | null;
  readonly settledAt: Date;
};

const SELECT_CLICK = `select found.*, advertiser.currency,
    coalesce((select sum(amount_micros) from budget_entry where click_id = $1), 0)::bigint as "creditedMicros"
  from (
    select click_id as "clickId", outcome::text, reason, charged_micros as "chargedMicros", advertiser_id as "advertiserId",
      campaign_id as "campaignId", ad_id as "adId", clicked_at as "clickedAt", settled_at as "settledAt"
    from ledger where click_id = $1
    union all
    select click_id, 'rejected', reason, 0, advertiser_id, campaign_id, ad_id, clicked_at, settled_at
    from dead_letter where click_id = $1
  ) found left join advertiser on advertiser.id = found."advertiserId"
  order by "settledAt" desc limit 1`;

/**
 * Finds a click by its id, among rejected clicks too; `null` if the ledger does not have it: it is not settled yet, its day is closed, or
 * it never was accepted. A click that was settled after it had been rejected has the later outcome.
 */
export async function findClick(pool: Pool, clickId: string): Promise<FoundClick | null> {
  const { rows } = await pool.query<FoundClick>(SELECT_CLICK, [clickId]);
  return rows[0] ?? null;
}
