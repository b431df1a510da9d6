import { randomBytes } from 'node:crypto';
import { TollwayError } from '../../common/errors.ts';
import type { Connection, Pool } from '../../common/postgres/postgres.ts';
import { singleRow } from '../../common/postgres/single-row.ts';
import { printable } from '../../common/text.ts';
import { WEBHOOK_EVENT_TYPES, type WebhookEventType } from '../../contract/webhook-event.ts';
import { unknownAdvertiser } from '../advertiser-lock.ts';
import type { Status } from '../status.ts';
import { WEBHOOKS_CHANNEL } from './emit.ts';
import { parseWebhookUrl, type TargetRule } from './target-url.ts';

/** The type of the event that `sendTestEvent` makes. Every webhook gets it, whatever it subscribes to. */
export const TEST_EVENT_TYPE = 'webhook.test';
/** Random bytes of a secret. The specification asks for 24–64. */
const SECRET_BYTES = 32;
/** Time for which the previous secret signs too, in hours. */
export const SECRET_OVERLAP_HOURS = 24;

export type Webhook = {
  readonly id: number;
  readonly url: string;
  /** The types that it subscribes to; empty: all. */
  readonly eventTypes: readonly WebhookEventType[];
  /** Only events of this advertiser; `null`: of all advertisers, and those of none. */
  readonly advertiserId: number | null;
  readonly advertiserName: string | null;
  readonly status: Status;
  /** Until when the previous secret signs too; `null` if only one secret signs. */
  readonly previousSecretUntil: Date | null;
  readonly createdAt: Date;
  /** Since when its target has given no answer of 2xx; `null` if the latest attempt succeeded. */
  readonly failingSince: Date | null;
  /** No attempt is made before this time; `null` unless the webhook waits as a whole. */
  readonly retryAt: Date | null;
};

/** The fields of a webhook to change; absent fields keep their values. */
export type WebhookChanges = {
  readonly url?: string | undefined;
  readonly eventTypes?: readonly string[] | undefined;
  readonly status?: Status | undefined;
};

const COLUMNS = `webhook.id, webhook.url, webhook.event_types as "eventTypes", webhook.advertiser_id as "advertiserId", webhook.status,
  (select name from advertiser where advertiser.id = webhook.advertiser_id) as "advertiserName",
  case when webhook.previous_secret_until > now() then webhook.previous_secret_until end as "previousSecretUntil",
  webhook.created_at as "createdAt", progress.failing_since as "failingSince",
  case when progress.retry_at > now() then progress.retry_at end as "retryAt"`;

/** A new secret: `whsec_` and base64, as the Standard Webhooks specification defines it. */
function newSecret(): string {
  return `whsec_${randomBytes(SECRET_BYTES).toString('base64')}`;
}

/** What a new webhook is created with. */
export type NewWebhook = {
  readonly url: string;
  readonly eventTypes?: readonly string[];
  readonly advertiserId?: number | null;
};

/**
 * Creates a webhook. Returns it with its secret, which cannot be read later. Throws `bad_url`, `unknown_event_type`, `unknown_advertiser`,
 * `too_many_webhooks`.
 */
export async function addWebhook(
  database: Pool | Connection,
  { url, eventTypes = [], advertiserId = null }: NewWebhook,
  rule: TargetRule,
): Promise<{ webhook: Webhook; secret: string }> {
  const secret = newSecret();
  if (advertiserId !== null) await assertRoomForWebhook(database, advertiserId);
  const { rows } = await database.query<Webhook>(
    `with webhook as (
       insert into webhook (url, event_types, advertiser_id, secret)
       select $1, $2, $3, $4 where $3::integer is null or exists (select from advertiser where id = $3)
       returning *
     ), progress as (
       insert into webhook_progress (webhook_id) select id from webhook returning *
     )
     select ${COLUMNS} from webhook, progress`,
    [parseWebhookUrl(url, rule), checkedTypes(eventTypes), advertiserId, secret],
  );
  const [webhook] = rows;
  if (!webhook) throw unknownAdvertiser(advertiserId ?? 0);
  return { webhook, secret };
}

/** Most webhooks of one advertiser that are not archived: each event of the advertiser is written once for each of them. */
const WEBHOOKS_MAX = 20;

/** Throws `too_many_webhooks`. Requests at the same moment can exceed the limit by a few. */
async function assertRoomForWebhook(database: Pool | Connection, advertiserId: number): Promise<void> {
  const { rows } = await database.query<{ count: bigint }>(
    "select count(*) from webhook where advertiser_id = $1 and status <> 'archived'",
    [advertiserId],
  );
  if (Number(rows[0]?.count) < WEBHOOKS_MAX) return;
  throw new TollwayError(
    'too_many_webhooks',
    `Expected at most ${WEBHOOKS_MAX} webhooks of advertiser ${advertiserId} that are not archived: archive one first`,
  );
}

/** The types without repetitions. Throws `unknown_event_type`. */
function checkedTypes(types: readonly string[]): string[] {
  const known: readonly string[] = WEBHOOK_EVENT_TYPES;
  const unknown = types.find((type) => !known.includes(type));
  if (unknown === undefined) return [...new Set(types)];
  throw new TollwayError(
    'unknown_event_type',
    `Expected types of events (${known.join(', ')}), got "${printable(unknown.slice(0, 100))}"`,
  );
}

/** Limits a list of webhooks. */
export type WebhookFilter = {
  /** Only those of these advertisers: webhooks for all advertisers are left out. `null`: all. */
  readonly advertiserIds?: readonly number[] | null;
  readonly status?: Status | undefined;
  /** Also archived ones. */
  readonly all?: boolean;
  /** Only ids above this one. */
  readonly after?: number;
  readonly limit?: number;
};

/** Returns webhooks, ordered by id. */
export async function listWebhooks(
  database: Pool | Connection,
  { advertiserIds, status, all = false, after = 0, limit }: WebhookFilter = {},
): Promise<Webhook[]> {
  const { rows } = await database.query<Webhook>(
    `select ${COLUMNS} from webhook join webhook_progress progress on progress.webhook_id = webhook.id
     where webhook.id > $1 and ($2::integer[] is null or webhook.advertiser_id = any($2))
       and ($3::text is null or webhook.status = $3) and ($4 or $3 = 'archived' or webhook.status <> 'archived')
     order by webhook.id limit $5`,
    [after, advertiserIds ?? null, status ?? null, all, limit ?? null],
  );
  return rows;
}

/** Returns a webhook. Throws `unknown_webhook`. */
export async function readWebhook(database: Pool | Connection, id: number): Promise<Webhook> {
  const { rows } = await database.query<Webhook>(
    `select ${COLUMNS} from webhook join webhook_progress progress on progress.webhook_id = webhook.id where webhook.id = $1`,
    [id],
  );
  const [webhook] = rows;
  if (!webhook) throw unknownWebhook(id);
  return webhook;
}

/** Locks a webhook, if it exists, until the end of the transaction, so that its settings can be compared before a change. */
export async function lockWebhook(connection: Connection, id: number): Promise<void> {
  await connection.query('select from webhook where id = $1 for no key update', [id]);
}

/** The error `unknown_webhook`. */
export function unknownWebhook(id: number): TollwayError {
  return new TollwayError('unknown_webhook', `Expected the id of a webhook in the database, got ${id}`);
}

/**
 * Changes the URL, the event types or the status of a webhook. A paused or archived webhook gets no new events. What waits for a paused one is
 * sent after it is resumed; what waits for an archived one is given up. A new URL, or a resume, ends a wait for retries. Throws
 * `unknown_webhook`, `bad_url`, `unknown_event_type`, and `too_many_webhooks` if an archived one is put back.
 */
export async function updateWebhook(
  database: Pool | Connection,
  id: number,
  { url, eventTypes, status }: WebhookChanges,
  rule: TargetRule,
): Promise<Webhook> {
  const before = await readWebhook(database, id);
  if (
    before.status === 'archived' &&
    status !== undefined &&
    status !== 'archived' &&
    before.advertiserId !== null
  )
    await assertRoomForWebhook(database, before.advertiserId);
  const { rowCount } = await database.query(
    `with changed as (
       update webhook set url = coalesce($2, url), event_types = coalesce($3, event_types), status = coalesce($4, status)
       where id = $1 returning id, status
     ), progress as (
       update webhook_progress set retry_at = '-infinity' from changed
       where webhook_id = changed.id and ($2::text is not null or $4 = 'active')
     ), delivery as (
       update webhook_delivery set status = case changed.status when 'archived' then 'failed' else 'pending' end,
         finished_at = case changed.status when 'archived' then now() end, next_attempt_at = now()
       from changed where webhook_id = changed.id and webhook_delivery.status = 'pending'
         and (changed.status = 'archived' or $2::text is not null or $4 = 'active')
     )
     select pg_notify('${WEBHOOKS_CHANNEL}', '') from changed`,
    [
      id,
      url === undefined ? null : parseWebhookUrl(url, rule),
      eventTypes === undefined ? null : checkedTypes(eventTypes),
      status ?? null,
    ],
  );
  if (rowCount === 0) throw unknownWebhook(id);
  return readWebhook(database, id);
}

/**
 * Gives a webhook a new secret and returns it. For {@link SECRET_OVERLAP_HOURS} hours its previous secret signs too, and an older one no
 * longer. Throws `unknown_webhook`.
 */
export async function rotateSecret(
  database: Pool | Connection,
  id: number,
): Promise<{ webhook: Webhook; secret: string }> {
  const secret = newSecret();
  const { rowCount } = await database.query(
    `update webhook set previous_secret = secret, previous_secret_until = now() + make_interval(hours => $3), secret = $2 where id = $1`,
    [id, secret, SECRET_OVERLAP_HOURS],
  );
  if (rowCount === 0) throw unknownWebhook(id);
  return { webhook: await readWebhook(database, id), secret };
}

/**
 * Queues an event of the type `webhook.test` for one webhook and returns its id. Throws `unknown_webhook`, and `webhook_not_active` for one that
 * is paused or archived.
 */
export async function sendTestEvent(database: Pool | Connection, id: number): Promise<bigint> {
  const { status } = await readWebhook(database, id);
  if (status !== 'active')
    throw new TollwayError(
      'webhook_not_active',
      `Expected an active webhook, got webhook ${id}, which is ${status}`,
    );
  const { rows } = await database.query<{ id: bigint }>(
    `with event as (
       insert into webhook_event (type, advertiser_id, data)
       select $2, advertiser_id, jsonb_build_object('webhookId', id) from webhook where id = $1 returning id, advertiser_id
     ), delivery as (
       insert into webhook_delivery (webhook_id, event_id, advertiser_id) select $1, id, advertiser_id from event
     ), progress as (
       update webhook_progress set retry_at = '-infinity' where webhook_id = $1
     )
     select event.id, pg_notify('${WEBHOOKS_CHANNEL}', '') from event`,
    [id, TEST_EVENT_TYPE],
  );
  return singleRow(rows).id;
}
