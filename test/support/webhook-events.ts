import type { Pool } from '../../common/postgres/postgres.ts';
import type { NewWebhookEvent } from '../../ledger/webhook-events.ts';

/** Inserts a webhook that nothing is sent to. Returns its id. */
export async function addWebhook(
  pool: Pool,
  settings: { eventTypes?: string[]; advertiserId?: number; status?: string } = {},
): Promise<number> {
  const { eventTypes = [], advertiserId = null, status = 'active' } = settings;
  const { rows } = await pool.query<{ id: number }>(
    `insert into webhook (url, event_types, advertiser_id, status, secret) values ('https://example.com/', $1, $2, $3, 'whsec_')
     returning id`,
    [eventTypes, advertiserId, status],
  );
  return rows[0]?.id ?? 0;
}

/** Returns all events, in the order of their ids, and deletes them with their deliveries. */
export async function takeEvents(pool: Pool): Promise<NewWebhookEvent[]> {
  const { rows } = await pool.query<NewWebhookEvent>(
    `with taken as (delete from webhook_event returning id, type, advertiser_id, data)
     select type, advertiser_id as "advertiserId", data from taken order by id`,
  );
  return rows;
}
