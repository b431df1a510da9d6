import type { Pool } from '../../common/postgres/postgres.ts';

/** States of a webhook in the gauges: its latest attempt succeeded, its latest attempt failed, or it is paused. */
export const BACKLOG_STATES = ['ok', 'failing', 'paused'] as const;
export type BacklogState = (typeof BACKLOG_STATES)[number];

/** The deliveries that wait for webhooks of one state. */
export type WebhookBacklog = {
  readonly state: BacklogState;
  readonly deliveries: number;
  /** Age of the oldest event, in seconds, since it was queued; 0 without a delivery. */
  readonly oldestSeconds: number;
};

/** Deliveries of one webhook that are counted at most. */
const COUNT_MAX = 100_000;

/** Counts the deliveries that wait, at most {@link COUNT_MAX} of each webhook. */
export async function readWebhookBacklog(pool: Pool): Promise<WebhookBacklog[]> {
  const { rows } = await pool.query<WebhookBacklog>(
    `select state, coalesce(sum(deliveries), 0)::float8 as deliveries,
       coalesce(extract(epoch from now() - min(oldest)), 0)::float8 as "oldestSeconds"
     from unnest($1::text[]) state left join (
       select case when webhook.status <> 'active' then 'paused' when progress.failures > 0 then 'failing' else 'ok' end as of_state,
         waiting.deliveries, waiting.oldest
       from webhook join webhook_progress progress on progress.webhook_id = webhook.id, lateral (
         select count(*) as deliveries, min(queued_at) as oldest from (
           select queued_at from webhook_delivery where webhook_id = webhook.id and status = 'pending' limit $2
         ) pending
       ) waiting
     ) backlog on of_state = state
     group by state`,
    [BACKLOG_STATES, COUNT_MAX],
  );
  return rows;
}
