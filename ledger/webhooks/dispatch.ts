import type { Pool } from '../../common/postgres/postgres.ts';
import { changeAs } from '../actor.ts';
import { dueDeliveries, type WebhookLease } from './leases.ts';

/** Time for which a delivery is retried after its first attempt, in days. */
export const RETRY_DAYS = 3;
/** Deliveries that one statement gives up at most. */
const GIVE_UP_BATCH = 5_000;

/** Where and how the deliveries of a webhook are sent. */
export type WebhookTarget = {
  readonly url: string;
  /** The secrets that sign: the present one and, after a rotation, the previous one. */
  readonly secrets: readonly string[];
};

/** A delivery whose turn it is. */
export type DueDelivery = {
  readonly eventId: bigint;
  /** The id of its advertiser; 0 for none. Deliveries of one advertiser are sent one after the other. */
  readonly advertiserKey: number;
  /** Attempts that were made. */
  readonly attempts: number;
  readonly type: string;
  readonly occurredAt: Date;
  readonly data: unknown;
};

type DueRow = { [K in keyof DueDelivery]: DueDelivery[K] | null } & {
  readonly url: string;
  readonly secret: string;
  readonly previousSecret: string | null;
};

/**
 * Returns the target of a leased webhook and up to `limit` deliveries whose turn it is: first those of advertisers above `after`, none of
 * `except`. Returns `null` if the lease is lost or the webhook is no longer active.
 */
export async function readDueDeliveries(
  pool: Pool,
  { webhookId, leaseId }: WebhookLease,
  { after, except, limit }: { after: number; except: readonly number[]; limit: number },
): Promise<{ target: WebhookTarget; deliveries: DueDelivery[] } | null> {
  const { rows } = await pool.query<DueRow>(
    `select webhook.url, webhook.secret, case when webhook.previous_secret_until > now() then webhook.previous_secret end as "previousSecret",
       due.event_id as "eventId", due.advertiser_key as "advertiserKey", delivery.attempts, event.type, event.occurred_at as "occurredAt", event.data
     from webhook join webhook_progress progress on progress.webhook_id = webhook.id and progress.leased_by = $2
     left join lateral (
       select * from (
         select * from (${dueDeliveries('$1', '$3::integer')}) above
         union all
         select * from (${dueDeliveries('$1', '-1')}) below where advertiser_key <= $3
       ) head where not head.advertiser_key = any($4::integer[]) limit $5
     ) due on true
     left join webhook_delivery delivery on delivery.webhook_id = $1 and delivery.event_id = due.event_id
     left join webhook_event event on event.id = due.event_id
     where webhook.id = $1 and webhook.status = 'active'`,
    [webhookId, leaseId, after, except, limit],
  );
  const [first] = rows;
  if (!first) return null;
  const { url, secret, previousSecret } = first;
  const secrets = previousSecret === null ? [secret] : [secret, previousSecret];
  return { target: { url, secrets }, deliveries: rows.flatMap(toDueDelivery) };
}

function toDueDelivery({ eventId, advertiserKey, attempts, type, occurredAt, data }: DueRow): DueDelivery[] {
  if (eventId === null || advertiserKey === null || attempts === null || type === null || occurredAt === null)
    return [];
  return [{ eventId, advertiserKey, attempts, type, occurredAt, data }];
}

/** What came of an attempt. */
export type AttemptOutcome = {
  readonly durationMs: number;
  /** `null` if the target gave no answer. */
  readonly statusCode: number | null;
  /** Why it failed; `null` after a success. */
  readonly error: string | null;
};

/** When to try again after a failed attempt. */
export type Retry = {
  /** Time until the next attempt of this delivery, in ms. */
  readonly delayMs: number;
  /** Time for which the webhook sends nothing at all, in ms; 0: it goes on with other advertisers. */
  readonly webhookDelayMs: number;
  /** Consecutive failed rounds of the webhook, this one included. */
  readonly failures: number;
};

/** CTEs that lock the lease and log an attempt. Nothing is written if another process holds the lease. Parameters 1–6. */
const LOG_ATTEMPT = `lease as (
    select webhook_id, failures from webhook_progress where webhook_id = $1 and leased_by = $2 for update
  ), attempt as (
    insert into webhook_attempt (webhook_id, event_id, duration_ms, status_code, error)
    select webhook_id, $3::bigint, $4, $5, $6 from lease
  )`;

function attemptValues(
  { webhookId, leaseId }: WebhookLease,
  eventId: bigint,
  { durationMs, statusCode, error }: AttemptOutcome,
): unknown[] {
  return [webhookId, leaseId, eventId, Math.round(durationMs), statusCode, error];
}

/**
 * Records a successful attempt, with `endsFailure` also that the target works again. Returns whether the lease still held; otherwise nothing was
 * written, and another process sends the event again.
 */
export async function recordDelivered(
  pool: Pool,
  lease: WebhookLease,
  eventId: bigint,
  outcome: AttemptOutcome,
  endsFailure: boolean,
): Promise<boolean> {
  const { rowCount } = await pool.query(
    `with ${LOG_ATTEMPT}, delivery as (
       update webhook_delivery set status = 'delivered', attempts = attempts + 1, finished_at = now()
       from lease where webhook_delivery.webhook_id = lease.webhook_id and event_id = $3
     ), progress as (
       update webhook_progress set failures = 0, failing_since = null, retry_at = '-infinity'
       from lease where webhook_progress.webhook_id = lease.webhook_id and lease.failures > 0 and $7
     )
     select from lease`,
    [...attemptValues(lease, eventId, outcome), endsFailure],
  );
  return rowCount === 1;
}

/** Makes all pending deliveries of a webhook due: its target answers again. */
export async function makeAllDue(pool: Pool, { webhookId, leaseId }: WebhookLease): Promise<void> {
  await pool.query(
    `update webhook_delivery set next_attempt_at = now()
     where webhook_id = $1 and status = 'pending' and next_attempt_at > now()
       and exists (select from webhook_progress where webhook_id = $1 and leased_by = $2)`,
    [webhookId, leaseId],
  );
}

/**
 * Records a failed attempt and when to try again. The last attempt is {@link RETRY_DAYS} days after the first; then the delivery has failed.
 * Returns what becomes of the delivery: `retry`; `expired`, if this was its last attempt; or `ended`, if it was given up meanwhile, because its
 * webhook was archived. `null` if the lease was lost and nothing was written.
 */
export async function recordFailure(
  pool: Pool,
  lease: WebhookLease,
  eventId: bigint,
  outcome: AttemptOutcome,
  { delayMs, webhookDelayMs, failures }: Retry,
): Promise<'retry' | 'expired' | 'ended' | null> {
  const { rows } = await pool.query<{ result: 'retry' | 'expired' | 'ended' }>(
    `with ${LOG_ATTEMPT}, progress as (
       update webhook_progress
       set failures = $9, failing_since = coalesce(failing_since, now()),
         retry_at = greatest(retry_at, now() + make_interval(secs => $8::integer / 1000.0))
       from lease where webhook_progress.webhook_id = lease.webhook_id
     )
     update webhook_delivery set attempts = attempts + 1,
       expires_at = coalesce(expires_at, now() + make_interval(days => $10)),
       next_attempt_at = least(now() + make_interval(secs => $7::integer / 1000.0), coalesce(expires_at, 'infinity')),
       status = case when expires_at <= now() then 'failed' else webhook_delivery.status end,
       finished_at = case when status = 'pending' and expires_at <= now() then now() else finished_at end
     from lease where webhook_delivery.webhook_id = lease.webhook_id and event_id = $3
     returning case when status = 'pending' then 'retry' when finished_at = now() then 'expired' else 'ended' end as result`,
    [
      ...attemptValues(lease, eventId, outcome),
      ...[Math.round(delayMs), Math.round(webhookDelayMs), failures, RETRY_DAYS],
    ],
  );
  return rows[0]?.result ?? null;
}

/**
 * Gives up deliveries that have waited for {@link RETRY_DAYS} days if the target has failed for all that time. Call it after a failed attempt.
 * Returns how many it gave up; 0 also if the lease was lost. One call gives up a part of many.
 */
export async function giveUpOld(pool: Pool, { webhookId, leaseId }: WebhookLease): Promise<number> {
  const { rowCount } = await pool.query(
    `update webhook_delivery set status = 'failed', finished_at = now()
     where webhook_id = $1 and event_id in (
       select event_id from webhook_delivery
       where webhook_id = $1 and status = 'pending' and queued_at <= now() - make_interval(days => $3)
         and exists (
           select from webhook_progress
           where webhook_id = $1 and leased_by = $2 and failing_since <= now() - make_interval(days => $3)
         )
       limit $4)`,
    [webhookId, leaseId, RETRY_DAYS, GIVE_UP_BATCH],
  );
  return rowCount ?? 0;
}

/** Pauses a webhook whose target has answered 410 Gone, if the lease still holds. Returns whether it did. */
export function pauseGone(pool: Pool, { webhookId, leaseId }: WebhookLease): Promise<boolean> {
  return changeAs(pool, { type: 'system', component: 'webhooks' }, async (connection) => {
    const { rowCount } = await connection.query(
      `update webhook set status = 'paused' where id = $1 and status = 'active'
         and exists (select from webhook_progress where webhook_id = $1 and leased_by = $2)`,
      [webhookId, leaseId],
    );
    return rowCount === 1;
  });
}
