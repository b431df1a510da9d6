import { arrayLiteral, type Connection, inTransaction, type Pool } from '../../common/postgres/postgres.ts';

/** Time for which events are kept after their last delivery ended, and for which a paused webhook keeps what waits, in days. */
export const WEBHOOK_RETENTION_DAYS = 30;
/** Events that one transaction deletes. */
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
    const batch = await inTransaction(pool, deleteBatch);
    deleted += batch.deleted;
    if (batch.found < BATCH) return deleted;
  }
}

/** An event that is not kept any more; `$1` is the time for which events are kept, in days. */
const IS_OLD = `occurred_at < now() - make_interval(days => $1) and not exists (
  select from webhook_delivery where event_id = event.id and (status = 'pending' or finished_at > now() - make_interval(days => $1)))`;

/**
 * Deletes a batch of old events. A replay that is not committed is not visible to the first statement. The second one waits for it and keeps
 * later ones waiting, so the third one, with a snapshot of its own, sees each of them.
 */
async function deleteBatch(connection: Connection): Promise<{ found: number; deleted: number }> {
  const { rows } = await connection.query<{ id: bigint }>(
    `select id from webhook_event event where ${IS_OLD} order by occurred_at limit $2`,
    [WEBHOOK_RETENTION_DAYS, BATCH],
  );
  const ids = arrayLiteral(rows.map(({ id }) => id));
  // In the order of `queueAgain`, so that the two cannot deadlock.
  await connection.query(
    'select from webhook_delivery where event_id = any($1::bigint[]) order by event_id, webhook_id for update',
    [ids],
  );
  const { rowCount } = await connection.query(
    `delete from webhook_event event where id = any($2::bigint[]) and ${IS_OLD}`,
    [WEBHOOK_RETENTION_DAYS, ids],
  );
  return { found: rows.length, deleted: rowCount ?? 0 };
}
