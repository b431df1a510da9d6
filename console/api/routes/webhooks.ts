import * as z from 'zod';
import { TollwayError } from '../../../common/errors.ts';
import type { Pool } from '../../../common/postgres/postgres.ts';
import { WEBHOOK_EVENT_TYPES } from '../../../contract/webhook-event.ts';
import type { TargetRule } from '../../../ledger/webhooks/target-url.ts';
import {
  addWebhook,
  listWebhooks,
  lockWebhook,
  readWebhook,
  rotateSecret,
  sendTestEvent,
  unknownWebhook,
  updateWebhook,
  type Webhook as WebhookRow,
} from '../../../ledger/webhooks/webhooks.ts';
import { assertAdvertiser, assertVisible, type Caller } from '../access.ts';
import type { App, Deps } from '../deps.ts';
import { assertMatch, etagOf } from '../etag.ts';
import { change } from '../idempotency.ts';
import { listQuery, pageOf, readPage } from '../pagination.ts';
import { BigId, FlagParameter, Id, IdParameter, Status, Time } from '../schemas.ts';

const EventTypes = z.array(z.enum(WEBHOOK_EVENT_TYPES)).meta({
  description: 'The types that it subscribes to; empty: all.',
  examples: [['budget.low', 'budget.exhausted']],
});

const Url = z
  .string()
  .min(1, { error: 'Expected a URL such as https://example.com/tollway, got none' })
  .max(2_000)
  .meta({
    description: 'Begins with `https://`, without user name, password and fragment. Its host must be public.',
    examples: ['https://example.com/tollway'],
  });

const WebhookStatus = Status.meta({
  description: 'Only an `active` webhook gets events. What waits for a `paused` one is kept.',
});

const webhookShape = {
  id: Id,
  url: Url,
  eventTypes: EventTypes,
  advertiserId: Id.nullable().meta({
    description: 'Only events of this advertiser; `null`: of all, and those of the whole installation.',
  }),
  advertiserName: z.string().nullable(),
  status: WebhookStatus,
  failingSince: Time.nullable().meta({ description: '`null` while its target answers with 200–299.' }),
  retryAt: Time.nullable().meta({ description: 'Nothing is sent before this time.' }),
  previousSecretUntil: Time.nullable().meta({ description: 'Until then, the previous secret signs too.' }),
  createdAt: Time,
};

export const Webhook = z.strictObject(webhookShape).meta({
  id: 'Webhook',
  description: 'Receiver of events, as the Standard Webhooks specification defines.',
});

export const WebhookWithSecret = z
  .strictObject({
    ...webhookShape,
    secret: z.string().meta({
      description: 'Verifies the signatures. It cannot be read later.',
      examples: ['whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw'],
    }),
  })
  .meta({ id: 'WebhookWithSecret' });

const NewWebhook = z
  .strictObject({ url: Url, eventTypes: EventTypes.default([]), advertiserId: Id.nullable().default(null) })
  .meta({ id: 'NewWebhook', description: 'A key that is restricted to advertisers must name one of them.' });

const WebhookChanges = z
  .strictObject({ url: Url, eventTypes: EventTypes, status: WebhookStatus })
  .partial()
  .meta({ id: 'WebhookChanges', description: 'Absent fields keep their values.' });

const QueuedEvent = z.strictObject({ eventId: BigId }).meta({ id: 'QueuedEvent' });

export const WebhookPath = z.strictObject({ webhookId: IdParameter });

/** The representation of a webhook. */
function toWebhook({ eventTypes, ...rest }: WebhookRow): z.output<typeof Webhook> {
  return { ...rest, eventTypes: [...eventTypes] };
}

const etagOfWebhook = ({ url, eventTypes, status }: WebhookRow) => etagOf({ url, eventTypes, status });

function ruleOf({ config }: Deps): TargetRule {
  return config.WEBHOOK_PRIVATE_TARGETS === 'on' ? 'private' : 'public';
}

/** Reads a webhook. Throws `unknown_webhook`, also if the caller may not see it. */
export async function visibleWebhook(
  database: Parameters<typeof readWebhook>[0],
  caller: Caller,
  id: number,
): Promise<WebhookRow> {
  const webhook = await readWebhook(database, id);
  assertVisible(caller, webhook.advertiserId, () => unknownWebhook(id));
  return webhook;
}

const tags = ['Webhooks'];
const config = { access: 'webhooks.manage', errors: ['unknown_webhook'] } as const;

/** Adds the routes of webhooks. */
export function webhookRoutes(app: App, deps: Deps): void {
  listRoute(app, deps);
  createRoute(app, deps);
  getRoute(app, deps);
  updateRoute(app, deps);
  archiveRoute(app, deps);
  rotateRoute(app, deps);
  testRoute(app, deps);
}

function listRoute(app: App, { pool }: Deps): void {
  app.get(
    '/v1/webhooks',
    {
      config: { access: 'webhooks.manage' },
      schema: {
        ...{ tags, operationId: 'listWebhooks', summary: 'List webhooks' },
        description: 'By id. Archived ones are left out unless asked for.',
        querystring: listQuery({ status: WebhookStatus.optional(), all: FlagParameter.default(false) }),
        response: { 200: pageOf('WebhookList', Webhook) },
      },
    },
    async ({ query: { limit, cursor, ...filter }, caller: { advertiserIds } }) => {
      const { items, nextCursor } = await readPage({ limit, cursor }, (range) =>
        listWebhooks(pool, { ...filter, advertiserIds, ...range }),
      );
      return { items: items.map(toWebhook), nextCursor };
    },
  );
}

function createRoute(app: App, deps: Deps): void {
  app.post(
    '/v1/webhooks',
    {
      config: {
        ...{ access: 'webhooks.manage', etag: true, secretAnswer: true },
        errors: ['unknown_advertiser', 'bad_url', 'too_many_webhooks'],
      },
      schema: {
        ...{ tags, operationId: 'createWebhook', summary: 'Create a webhook' },
        description: 'The answer has the secret that verifies the signatures. It cannot be read later.',
        body: NewWebhook,
        response: { 201: WebhookWithSecret },
      },
    },
    (request, reply) =>
      change(deps.pool, request, reply, async (connection) => {
        const { advertiserId } = request.body;
        if (advertiserId !== null) assertAdvertiser(request.caller, advertiserId);
        else if (request.caller.advertiserIds !== null)
          throw new TollwayError(
            'forbidden',
            'Expected advertiserId, because the key is restricted; got none',
          );
        const { webhook, secret } = await addWebhook(connection, request.body, ruleOf(deps));
        reply.code(201).headers({ location: `/v1/webhooks/${webhook.id}`, etag: etagOfWebhook(webhook) });
        return { ...toWebhook(webhook), secret };
      }),
  );
}

function getRoute(app: App, { pool }: Deps): void {
  app.get(
    '/v1/webhooks/:webhookId',
    {
      config: { ...config, etag: true },
      schema: {
        ...{ tags, operationId: 'getWebhook', summary: 'Get a webhook' },
        params: WebhookPath,
        response: { 200: Webhook },
      },
    },
    async ({ params: { webhookId }, caller }, reply) => {
      const webhook = await visibleWebhook(pool, caller, webhookId);
      reply.header('etag', etagOfWebhook(webhook));
      return toWebhook(webhook);
    },
  );
}

function updateRoute(app: App, deps: Deps): void {
  app.patch(
    '/v1/webhooks/:webhookId',
    {
      config: { ...config, etag: true, errors: ['unknown_webhook', 'bad_url', 'too_many_webhooks'] },
      schema: {
        ...{ tags, operationId: 'updateWebhook', summary: 'Change, pause, resume or archive a webhook' },
        description:
          'A new URL, and the status `active`, end a wait for retries: what waits is sent at once.',
        params: WebhookPath,
        body: WebhookChanges,
        response: { 200: Webhook },
      },
    },
    (request, reply) =>
      change(deps.pool, request, reply, async (connection) => {
        const { params, body, caller } = request;
        await lockWebhook(connection, params.webhookId);
        assertMatch(request, etagOfWebhook(await visibleWebhook(connection, caller, params.webhookId)));
        const changed = await updateWebhook(connection, params.webhookId, body, ruleOf(deps));
        reply.header('etag', etagOfWebhook(changed));
        return toWebhook(changed);
      }),
  );
}

function archiveRoute(app: App, deps: Deps): void {
  app.delete(
    '/v1/webhooks/:webhookId',
    {
      config,
      schema: {
        ...{ tags, operationId: 'archiveWebhook', summary: 'Archive a webhook' },
        description: 'It gets no more events, and what waits has failed. It can be made `active` again.',
        params: WebhookPath,
        response: { 200: Webhook },
      },
    },
    (request, reply) =>
      change(deps.pool, request, reply, async (connection) => {
        const { id } = await visibleWebhook(connection, request.caller, request.params.webhookId);
        return toWebhook(await updateWebhook(connection, id, { status: 'archived' }, ruleOf(deps)));
      }),
  );
}

function rotateRoute(app: App, { pool }: { pool: Pool }): void {
  app.post(
    '/v1/webhooks/:webhookId/rotate-secret',
    {
      config: { ...config, secretAnswer: true },
      schema: {
        ...{ tags, operationId: 'rotateWebhookSecret', summary: 'Give a webhook a new secret' },
        description: 'For 24 hours the previous secret signs too, in a second signature.',
        params: WebhookPath,
        response: { 200: WebhookWithSecret },
      },
    },
    (request, reply) =>
      change(pool, request, reply, async (connection) => {
        const { id } = await visibleWebhook(connection, request.caller, request.params.webhookId);
        const { webhook, secret } = await rotateSecret(connection, id);
        return { ...toWebhook(webhook), secret };
      }),
  );
}

function testRoute(app: App, { pool }: { pool: Pool }): void {
  app.post(
    '/v1/webhooks/:webhookId/test',
    {
      config: { ...config, errors: ['unknown_webhook', 'webhook_not_active'] },
      schema: {
        ...{ tags, operationId: 'testWebhook', summary: 'Send an event of the type webhook.test' },
        description: 'The attempts of the delivery tell what came of it.',
        params: WebhookPath,
        response: { 202: QueuedEvent },
      },
    },
    (request, reply) =>
      change(pool, request, reply, async (connection) => {
        const { id } = await visibleWebhook(connection, request.caller, request.params.webhookId);
        reply.code(202);
        return { eventId: await sendTestEvent(connection, id) };
      }),
  );
}
