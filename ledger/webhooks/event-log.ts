import type { Pool } from '../../common/postgres/postgres.ts';

/** A transition as it is stored and sent. */
export type StoredWebhookEvent = {
  readonly id: bigint;
  readonly type: string;
  /** `null`: of the whole installation. */
  readonly advertiserId: number | null;
  readonly occurredAt: Date;
  readonly data: Record<string, unknown>;
};

/**
 * Returns events, the newest first: of these advertisers only, or, for `null`, all. `before`: only lower ids than this one, unless it is 0.
 */
export async function listWebhookEvents(
  pool: Pool,
  {
    advertiserIds,
    before,
    limit,
  }: { readonly advertiserIds: readonly number[] | null; readonly before: bigint; readonly limit: number },
): Promise<StoredWebhookEvent[]> {
  const { rows } = await pool.query<StoredWebhookEvent>(
    `select id, type, advertiser_id as "advertiserId", occurred_at as "occurredAt", data from webhook_event
     where ($1::integer[] is null or advertiser_id = any($1)) and ($2::bigint = 0 or id < $2) order by id desc limit $3`,
    [advertiserIds, before, limit],
  );
  return rows;
}
