import type { Connection } from '../../common/postgres/postgres.ts';
import type { WebhookEventData, WebhookEventType } from '../../contract/webhook-event.ts';

/** PostgreSQL `NOTIFY` channel for new deliveries of webhooks. The payload is empty. */
export const WEBHOOKS_CHANNEL = 'tollway_webhooks';

/** A transition. `advertiserId` is `null` for one of the whole installation. */
export type NewWebhookEvent = {
  [Type in WebhookEventType]: {
    readonly type: Type;
    readonly advertiserId: number | null;
    readonly data: WebhookEventData[Type];
  };
}[WebhookEventType];

/**
 * Inserts an event and a delivery for each active webhook that subscribes to it, and notifies the consoles at the commit. Call it in the
 * transaction that causes the transition: a rollback leaves no event. Hold the advertiser's lock: the ids of its events are then in the order of
 * the commits. Advertisers of load tests have no events.
 */
export async function emit(
  connection: Connection,
  { type, advertiserId, data }: NewWebhookEvent,
): Promise<void> {
  await connection.query(
    // A transaction that notifies waits for others that do, at its commit: it notifies only if there is something to send.
    `with event as (
       insert into webhook_event (type, advertiser_id, data) select $1, $2::integer, $3::jsonb
       where not exists (select from advertiser where id = $2 and is_test)
       returning id, type, advertiser_id
     ), delivery as (
       insert into webhook_delivery (webhook_id, event_id, advertiser_id)
       select webhook.id, event.id, event.advertiser_id from event join webhook on webhook.status = 'active'
         and (webhook.advertiser_id is null or webhook.advertiser_id = event.advertiser_id)
         and (webhook.event_types = '{}' or event.type = any(webhook.event_types))
       returning webhook_id
     )
     select pg_notify($4, '') where exists (select from delivery)`,
    [type, advertiserId, JSON.stringify(data), WEBHOOKS_CHANNEL],
  );
}
