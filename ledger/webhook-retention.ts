import type { Pool } from '../common/postgres/postgres.ts';

/** Time for which events are kept after their last delivery ended, and for which a paused webhook keeps what waits, in days. */
export const WEBHOOK_RETENTION_DAYS = 30;
/** Events that one statement deletes. */
const BATCH = 2_000;

/**
 * Deletes events with their deliveries and attempts {@link WEBHOOK_RETENTION_DAYS} days after they occurred and their last delivery ended, and gives
 * up what has waited that long for a webhook that is not active. Safe to run at the same time elsewhere. Returns how many events it deleted.
 */
export async function deleteOldWebhookEvents(pool: Pool): Promise<number> {
  await pool.query(
    `update webhook_delivery delivery set status = 'failed', finished_at = now() from webhook
     where webhook.id = delivery.webhook_id and webhook.status <> 'active' and delivery.status = 'pending'
       and delivery.queued_at < now() - make_interval(days => $1)`,
    [WEBHOOK_RETENTION_DAYS],
  );
  for (let deleted = 0; ; ) {
    const { rowCount } = await pool.query(
      `delete from webhook_event where id in (
         select id from webhook_event event
         where occurred_at < now() - make_interval(days => $1) and not exists (
           select from webhook_delivery where event_id = event.id
             and (status = 'pending' or finished_at > now() - make_interval(days => $1))
         )
         order by occurred_at limit $2)`,
      [WEBHOOK_RETENTION_DAYS, BATCH],
    );
    deleted += rowCount ?? 0;
    if ((rowCount ?? 0) < BATCH) return deleted;
  }
}
