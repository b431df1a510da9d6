import { TollwayError } from '../../common/errors.ts';
import { type Connection, joinTransaction, type Pool } from '../../common/postgres/postgres.ts';
import { recordAudit } from '../access/audit-log.ts';
import { WEBHOOKS_CHANNEL } from './emit.ts';
import { readWebhook } from './webhooks.ts';

export const DELIVERY_STATUSES = ['pending', 'delivered', 'failed'] as const;
export type DeliveryStatus = (typeof DELIVERY_STATUSES)[number];

/** An event on its way to one webhook. */
export type Delivery = {
  readonly eventId: bigint;
  readonly eventType: string;
  readonly advertiserId: number | null;
  readonly advertiserName: string | null;
  /** As it is sent. */
  readonly data: Record<string, unknown>;
  readonly occurredAt: Date;
  readonly status: DeliveryStatus;
  readonly attempts: number;
  /** The earliest time of the next attempt; `null` unless it is pending. */
  readonly nextAttemptAt: Date | null;
  readonly finishedAt: Date | null;
};

/** One request to the target of a webhook. */
export type Attempt = {
  readonly at: Date;
  readonly durationMs: number;
  /** `null` if the target gave no answer. */
  readonly statusCode: number | null;
  /** Why it failed; `null` after a success. */
  readonly error: string | null;
};

/** Limits a list of deliveries. */
export type DeliveryFilter = {
  readonly status?: DeliveryStatus | undefined;
  /** Only events with a lower id than this one, unless it is 0: the last of the page before. */
  readonly before?: bigint;
  readonly limit: number;
};

/** Returns the deliveries of a webhook, the newest event first. Throws `unknown_webhook`. */
export async function listDeliveries(
  database: Pool | Connection,
  webhookId: number,
  { status, before = 0n, limit }: DeliveryFilter,
): Promise<Delivery[]> {
  await readWebhook(database, webhookId);
  const { rows } = await database.query<Delivery>(
    `select delivery.event_id as "eventId", event.type as "eventType", delivery.advertiser_id as "advertiserId",
       (select name from advertiser where id = delivery.advertiser_id) as "advertiserName", event.data, event.occurred_at as "occurredAt",
       delivery.status, delivery.attempts, delivery.finished_at as "finishedAt",
       case delivery.status when 'pending' then delivery.next_attempt_at end as "nextAttemptAt"
     from webhook_delivery delivery join webhook_event event on event.id = delivery.event_id
     where delivery.webhook_id = $1 and ($2::bigint = 0 or delivery.event_id < $2) and ($3::text is null or delivery.status = $3)
     order by delivery.event_id desc limit $4`,
    [webhookId, before, status ?? null, limit],
  );
  return rows;
}

/** Returns the attempts of a delivery, oldest first. Throws `unknown_delivery`. */
export async function listAttempts(
  database: Pool | Connection,
  webhookId: number,
  eventId: bigint,
): Promise<Attempt[]> {
  const { rows } = await database.query<Attempt>(
    `select at, duration_ms as "durationMs", status_code as "statusCode", error from webhook_attempt
     where webhook_id = $1 and event_id = $2 order by id`,
    [webhookId, eventId],
  );
  if (rows.length === 0) await assertDelivery(database, webhookId, eventId);
  return rows;
}

async function assertDelivery(
  database: Pool | Connection,
  webhookId: number,
  eventId: bigint,
): Promise<void> {
  const { rowCount } = await database.query(
    'select from webhook_delivery where webhook_id = $1 and event_id = $2',
    [webhookId, eventId],
  );
  if (rowCount === 0)
    throw new TollwayError(
      'unknown_delivery',
      `Expected the id of an event that was queued for webhook ${webhookId}, got ${eventId}`,
    );
}

/**
 * Sends an event to a webhook again, whatever came of it before, with the same `webhook-id`. Later events of its advertiser that wait come after
 * it. Throws `unknown_delivery`, and `webhook_not_active` for a webhook that is paused or archived.
 */
export async function replayDelivery(
  database: Pool | Connection,
  webhookId: number,
  eventId: bigint,
): Promise<void> {
  await assertDelivery(database, webhookId, eventId);
  const count = await replay(database, webhookId, 'delivery.event_id = $2', eventId);
  // The event can have been deleted in between.
  if (count === 0) await assertDelivery(database, webhookId, eventId);
}

/**
 * Sends all events again that were given up at or after `since`, in their order. Returns how many. Throws `unknown_webhook`, and
 * `webhook_not_active` for a webhook that is paused or archived.
 */
export function replayFailed(database: Pool | Connection, webhookId: number, since: Date): Promise<number> {
  return replay(database, webhookId, "delivery.status = 'failed' and delivery.finished_at >= $2", since);
}

/** The retries begin anew: three days, the shortest pause first. A webhook that waits as a whole is tried at once. */
function replay(
  database: Pool | Connection,
  webhookId: number,
  condition: string,
  value: bigint | Date,
): Promise<number> {
  return joinTransaction(database, async (connection) => {
    const count = await queueAgain(connection, webhookId, condition, value);
    const { advertiserId } = await readWebhook(connection, webhookId);
    if (count > 0)
      await recordAudit(connection, {
        ...{ action: 'webhook.replay', subject: String(webhookId), advertiserId },
        after: { events: count },
      });
    return count;
  });
}

async function queueAgain(
  database: Connection,
  webhookId: number,
  condition: string,
  value: bigint | Date,
): Promise<number> {
  const { status } = await readWebhook(database, webhookId);
  if (status !== 'active')
    throw new TollwayError(
      'webhook_not_active',
      `Expected an active webhook, got webhook ${webhookId}, which is ${status}`,
    );
  const { rows } = await database.query<{ count: number }>(
    `with found as (
       -- In the order in which old events are deleted (retention.ts), so that the two cannot deadlock.
       select event_id from webhook_delivery delivery where webhook_id = $1 and ${condition} order by event_id for update
     ), delivery as (
       update webhook_delivery
       set status = 'pending', attempts = 0, queued_at = now(), next_attempt_at = now(), expires_at = null, finished_at = null
       from found where webhook_id = $1 and webhook_delivery.event_id = found.event_id returning found.event_id
     ), progress as (
       update webhook_progress set retry_at = '-infinity' where webhook_id = $1
     )
     select count(*)::integer as count, pg_notify('${WEBHOOKS_CHANNEL}', '') from delivery`,
    [webhookId, value],
  );
  return rows[0]?.count ?? 0;
}
