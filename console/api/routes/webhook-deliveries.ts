import * as z from 'zod';
import {
  DELIVERY_STATUSES,
  listAttempts,
  listDeliveries,
  replayDelivery,
  replayFailed,
} from '../../../ledger/webhooks/deliveries.ts';
import { listWebhookEvents } from '../../../ledger/webhooks/event-log.ts';
import { assertAdvertiser } from '../access.ts';
import type { App, Deps } from '../deps.ts';
import { change } from '../idempotency.ts';
import { listQuery, pageOf, readBigPage } from '../pagination.ts';
import { BigId, Id, IdParameter, Time } from '../schemas.ts';
import { visibleWebhook, WebhookPath } from './webhooks.ts';

const EventType = z.string().meta({ examples: ['budget.low'] });
const EventData = z.record(z.string(), z.unknown()).meta({ description: 'As it is sent.' });
const OfAdvertiser = Id.nullable().meta({ description: '`null`: of the whole installation.' });

export const WebhookEvent = z
  .strictObject({
    ...{ id: BigId, type: EventType, advertiserId: OfAdvertiser, occurredAt: Time },
    data: EventData,
  })
  .meta({ id: 'WebhookEvent', description: 'Transition that webhooks are told about.' });

const DeliveryStatus = z.enum(DELIVERY_STATUSES).meta({ description: '`failed`: given up.' });

export const Delivery = z
  .strictObject({
    eventId: BigId,
    eventType: EventType,
    advertiserId: OfAdvertiser,
    advertiserName: z.string().nullable(),
    data: EventData,
    occurredAt: Time,
    status: DeliveryStatus,
    attempts: z.int().meta({ description: 'Attempts since the event was queued or replayed.' }),
    nextAttemptAt: Time.nullable().meta({ description: 'Earliest time of the next attempt.' }),
    finishedAt: Time.nullable(),
  })
  .meta({ id: 'WebhookDelivery', description: 'Event on its way to one webhook.' });

export const Attempt = z
  .strictObject({
    at: Time,
    durationMs: z.int(),
    statusCode: z.int().nullable().meta({ description: '`null` if the target gave no answer.' }),
    error: z.string().nullable().meta({ description: 'Why it failed; `null` after a success.' }),
  })
  .meta({ id: 'WebhookAttempt', description: 'Request to the target of a webhook.' });

const AttemptList = z.strictObject({ items: z.array(Attempt) }).meta({ id: 'WebhookAttemptList' });

const Queued = z
  .strictObject({ queued: z.int().meta({ description: 'Events that are sent again.' }) })
  .meta({ id: 'QueuedEvents' });

const ReplayOfFailed = z
  .strictObject({ since: Time.meta({ description: 'Events that were given up since then.' }) })
  .meta({ id: 'ReplayOfFailed' });

const DeliveryPath = z.strictObject({
  webhookId: IdParameter,
  eventId: BigId.meta({ description: 'Id of the event.' }),
});

const tags = ['Webhooks'];
const access = 'webhooks.manage';

/** Adds the routes of events, deliveries and attempts. */
export function webhookDeliveryRoutes(app: App, deps: Deps): void {
  eventsRoute(app, deps);
  deliveriesRoute(app, deps);
  attemptsRoute(app, deps);
  replayRoute(app, deps);
  replayFailedRoute(app, deps);
}

function eventsRoute(app: App, { pool }: Deps): void {
  app.get(
    '/v1/webhook-events',
    {
      config: { access, errors: ['unknown_advertiser'] },
      schema: {
        ...{ tags, operationId: 'listWebhookEvents', summary: 'List events' },
        description: 'The newest first, also those that no webhook subscribes to. Kept for 30 days.',
        querystring: listQuery({ advertiserId: IdParameter.optional() }),
        response: { 200: pageOf('WebhookEventList', WebhookEvent) },
      },
    },
    async ({ query: { advertiserId, ...page }, caller }) => {
      if (advertiserId !== undefined) assertAdvertiser(caller, advertiserId);
      const advertiserIds = advertiserId === undefined ? caller.advertiserIds : [advertiserId];
      return readBigPage(page, ({ after, limit }) =>
        listWebhookEvents(pool, { advertiserIds, before: after, limit }),
      );
    },
  );
}

function deliveriesRoute(app: App, { pool }: Deps): void {
  app.get(
    '/v1/webhooks/:webhookId/deliveries',
    {
      config: { access, errors: ['unknown_webhook'] },
      schema: {
        ...{ tags, operationId: 'listWebhookDeliveries', summary: 'List the deliveries of a webhook' },
        description: 'The newest event first. Kept for 30 days after their end.',
        params: WebhookPath,
        querystring: listQuery({ status: DeliveryStatus.optional() }),
        response: { 200: pageOf('WebhookDeliveryList', Delivery) },
      },
    },
    async ({ params: { webhookId }, query: { status, ...page }, caller }) => {
      await visibleWebhook(pool, caller, webhookId);
      const { items, nextCursor } = await readBigPage(page, async ({ after, limit }) => {
        const rows = await listDeliveries(pool, webhookId, { status, before: after, limit });
        return rows.map((row) => ({ id: row.eventId, row }));
      });
      return { items: items.map(({ row }) => row), nextCursor };
    },
  );
}

function attemptsRoute(app: App, { pool }: Deps): void {
  app.get(
    '/v1/webhooks/:webhookId/deliveries/:eventId/attempts',
    {
      config: { access, errors: ['unknown_webhook', 'unknown_delivery'] },
      schema: {
        ...{ tags, operationId: 'listWebhookAttempts', summary: 'List the attempts of a delivery' },
        description: 'The oldest first.',
        params: DeliveryPath,
        response: { 200: AttemptList },
      },
    },
    async ({ params: { webhookId, eventId }, caller }) => {
      await visibleWebhook(pool, caller, webhookId);
      return { items: await listAttempts(pool, webhookId, eventId) };
    },
  );
}

function replayRoute(app: App, { pool }: Deps): void {
  app.post(
    '/v1/webhooks/:webhookId/deliveries/:eventId/replay',
    {
      config: { access, errors: ['unknown_webhook', 'unknown_delivery', 'webhook_not_active'] },
      schema: {
        ...{ tags, operationId: 'replayWebhookDelivery', summary: 'Send an event again' },
        description: 'Also one that was delivered. It keeps its `webhook-id`, and its retries begin anew.',
        params: DeliveryPath,
        response: { 202: Queued },
      },
    },
    (request, reply) =>
      change(pool, request, reply, async (connection) => {
        const { webhookId, eventId } = request.params;
        await visibleWebhook(connection, request.caller, webhookId);
        await replayDelivery(connection, webhookId, eventId);
        reply.code(202);
        return { queued: 1 };
      }),
  );
}

function replayFailedRoute(app: App, { pool }: Deps): void {
  app.post(
    '/v1/webhooks/:webhookId/replay-failed',
    {
      config: { access, errors: ['unknown_webhook', 'webhook_not_active'] },
      schema: {
        ...{
          tags,
          operationId: 'replayFailedWebhookDeliveries',
          summary: 'Send all events again that were given up',
        },
        params: WebhookPath,
        body: ReplayOfFailed,
        response: { 202: Queued },
      },
    },
    (request, reply) =>
      change(pool, request, reply, async (connection) => {
        const { id } = await visibleWebhook(connection, request.caller, request.params.webhookId);
        reply.code(202);
        return { queued: await replayFailed(connection, id, request.body.since) };
      }),
  );
}
