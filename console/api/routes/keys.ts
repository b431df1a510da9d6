import * as z from 'zod';
import {
  ADVERTISERS_MAX,
  type ApiKey as ApiKeyRow,
  createKey,
  listKeys,
  ROLES,
  readKey,
  revokeKey,
} from '../../../ledger/access/api-keys.ts';
import type { App, Deps } from '../deps.ts';
import { change } from '../idempotency.ts';
import { listQuery, pageOf, readPage } from '../pagination.ts';
import { Id, IdParameter, Name, Time } from '../schemas.ts';

const Role = z.enum(ROLES).meta({ description: 'What the key may do.' });

export const ApiKey = z
  .strictObject({
    id: Id,
    name: Name,
    role: Role,
    advertiserIds: z
      .array(Id)
      .nullable()
      .meta({ description: 'The key sees these advertisers only; `null`: all.' }),
    status: z
      .enum(['active', 'expired', 'revoked'])
      .meta({ description: 'Only an `active` key is accepted.' }),
    createdAt: Time,
    expiresAt: Time.nullable().meta({ description: '`null`: never.' }),
    lastUsedAt: Time.nullable().meta({ description: 'At most a minute before the latest use.' }),
    revokedAt: Time.nullable(),
  })
  .meta({ id: 'ApiKey', description: 'API key, without its secret.' });

const NewApiKey = z
  .strictObject({
    name: Name,
    role: Role,
    advertiserIds: z.array(Id).min(1).max(ADVERTISERS_MAX).nullable().optional().meta({
      description: 'Restricts the key to these advertisers. Not for the role `admin`.',
    }),
    expiresAt: Time.nullable().optional().meta({ description: 'In the future; `null` or absent: never.' }),
  })
  .meta({ id: 'NewApiKey' });

export const CreatedApiKey = ApiKey.extend({
  key: z.string().meta({
    description: 'Text of the key. It is not stored, so no other answer has it.',
    examples: [`tollway_1_${'A'.repeat(43)}`],
  }),
}).meta({ id: 'CreatedApiKey' });

const KeyPath = z.strictObject({ keyId: IdParameter });

function toApiKey(row: ApiKeyRow): z.output<typeof ApiKey> {
  const { id, name, role, advertiserIds, status, createdAt, expiresAt, lastUsedAt, revokedAt } = row;
  return {
    ...{ id, name, role, status, createdAt, expiresAt, lastUsedAt, revokedAt },
    advertiserIds: advertiserIds && [...advertiserIds],
  };
}

const tags = ['API keys'];

/** Adds the routes of API keys. */
export function keyRoutes(app: App, deps: Deps): void {
  listRoute(app, deps);
  createRoute(app, deps);
  getRoute(app, deps);
  revokeRoute(app, deps);
}

function listRoute(app: App, { pool }: Deps): void {
  app.get(
    '/v1/keys',
    {
      config: { access: 'keys.manage' },
      schema: {
        ...{ tags, operationId: 'listKeys', summary: 'List API keys' },
        description: 'Also expired and revoked ones, by id.',
        querystring: listQuery({}),
        response: { 200: pageOf('ApiKeyList', ApiKey) },
      },
    },
    async ({ query }) => {
      const { items, nextCursor } = await readPage(query, (range) => listKeys(pool, range));
      return { items: items.map(toApiKey), nextCursor };
    },
  );
}

function createRoute(app: App, { pool }: Deps): void {
  app.post(
    '/v1/keys',
    {
      config: {
        access: 'keys.manage',
        secretAnswer: true,
        errors: ['bad_role', 'bad_time', 'unknown_advertiser'],
      },
      schema: {
        ...{ tags, operationId: 'createKey', summary: 'Create an API key' },
        description:
          'The answer has the text of the key; no other answer has it. A retry with the same `Idempotency-Key` gets it again.',
        body: NewApiKey,
        response: { 201: CreatedApiKey },
      },
    },
    (request, reply) =>
      change(pool, request, reply, async (connection) => {
        const { name, role, advertiserIds = null, expiresAt = null } = request.body;
        const { key, ...made } = await createKey(connection, { name, role, advertiserIds, expiresAt });
        reply.code(201).header('location', `/v1/keys/${made.id}`);
        return { ...toApiKey(made), key };
      }),
  );
}

function getRoute(app: App, { pool }: Deps): void {
  app.get(
    '/v1/keys/:keyId',
    {
      config: { access: 'keys.manage', errors: ['unknown_key'] },
      schema: {
        ...{ tags, operationId: 'getKey', summary: 'Get an API key' },
        params: KeyPath,
        response: { 200: ApiKey },
      },
    },
    async ({ params: { keyId } }) => toApiKey(await readKey(pool, keyId)),
  );
}

function revokeRoute(app: App, { pool }: Deps): void {
  app.delete(
    '/v1/keys/:keyId',
    {
      config: { access: 'keys.manage', errors: ['unknown_key'] },
      schema: {
        ...{ tags, operationId: 'revokeKey', summary: 'Revoke an API key' },
        description:
          'For good: requests with the key are refused within a second, and those of its sessions at once. The key stays in the list.',
        params: KeyPath,
        response: { 200: ApiKey },
      },
    },
    (request, reply) =>
      change(pool, request, reply, async (connection) =>
        toApiKey(await revokeKey(connection, request.params.keyId)),
      ),
  );
}
