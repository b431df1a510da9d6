import type { Pool } from '../../common/postgres/postgres.ts';

/** Time for which a lease holds without being renewed, in ms. After a crash of a console, another one takes over this much later. */
export const LEASE_MS = 15_000;

/** The right of one console process to send the deliveries of a webhook. */
export type WebhookLease = {
  readonly webhookId: number;
  readonly leaseId: string;
  /** Consecutive rounds of attempts that failed. */
  readonly failures: number;
  /** The advertiser that was served last under the lease before; -1: none was. */
  readonly servedAdvertiser: number;
};

/**
 * SQL that selects the pending deliveries of a webhook that may be sent: of each advertiser only the first one, and only if its time has come.
 * It goes from advertiser to advertiser in the index `webhook_delivery_pending`, upwards from `after`, so that it reads one row for each, however
 * many wait. `webhookId` and `after` are SQL expressions.
 */
export function dueDeliveries(webhookId: string, after: string): string {
  const first = (above: string) =>
    `(select coalesce(advertiser_id, 0) as advertiser_key, event_id, next_attempt_at from webhook_delivery
      where webhook_id = ${webhookId} and status = 'pending' and coalesce(advertiser_id, 0) > ${above}
      order by coalesce(advertiser_id, 0), event_id limit 1)`;
  return `with recursive head as (
      ${first(after)}
      union all
      select next.* from head, lateral ${first('head.advertiser_key')} next
    )
    select advertiser_key, event_id from head where next_attempt_at <= now()`;
}

/**
 * Leases up to `limit` active webhooks that have something to send and that no other process has leased. `isFailing` chooses those whose
 * latest attempt failed, or the others.
 */
export async function leaseWebhooks(
  pool: Pool,
  { isFailing, limit }: { readonly isFailing: boolean; readonly limit: number },
): Promise<WebhookLease[]> {
  const { rows } = await pool.query<WebhookLease>(
    `with chosen as (
       select progress.webhook_id from webhook_progress progress join webhook on webhook.id = progress.webhook_id
       where webhook.status = 'active' and progress.retry_at <= now() and progress.leased_until <= now()
         and (progress.failures > 0) = $1 and exists (${dueDeliveries('progress.webhook_id', '-1')})
       order by progress.leased_until limit $2
       for update of progress skip locked
     )
     update webhook_progress progress
     set leased_by = gen_random_uuid(), leased_until = now() + make_interval(secs => $3::integer / 1000.0)
     from chosen where progress.webhook_id = chosen.webhook_id
     returning progress.webhook_id as "webhookId", progress.leased_by as "leaseId", progress.failures,
       progress.served_advertiser as "servedAdvertiser"`,
    [isFailing, limit, LEASE_MS],
  );
  return rows;
}

/** Renews leases and returns the ids of those that this process still holds. */
export async function renewLeases(pool: Pool, leaseIds: readonly string[]): Promise<string[]> {
  const { rows } = await pool.query<{ id: string }>(
    `update webhook_progress set leased_until = now() + make_interval(secs => $2::integer / 1000.0)
     where leased_by = any($1::uuid[]) returning leased_by as id`,
    [leaseIds, LEASE_MS],
  );
  return rows.map(({ id }) => id);
}

/** Releases a lease, if this process still holds it. The next one, of any process, begins after `servedAdvertiser`. */
export async function releaseLease(
  pool: Pool,
  { webhookId, leaseId }: WebhookLease,
  servedAdvertiser: number,
): Promise<void> {
  await pool.query(
    `update webhook_progress set leased_by = null, leased_until = now(), served_advertiser = $3
     where webhook_id = $1 and leased_by = $2`,
    [webhookId, leaseId, servedAdvertiser],
  );
}
