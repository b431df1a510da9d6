import type { FastifyDynamicSwaggerOptions } from '@fastify/swagger';
import fastify, { type RouteOptions } from 'fastify';
import * as z from 'zod';
import type { ErrorCode } from '../../common/error-codes.ts';
import { readVersion } from '../../common/version.ts';
import type { App } from './deps.ts';
import { PROBLEM_TYPE, Problem, statusOf } from './problem.ts';
import type { SessionCookie } from './session-cookie.ts';

type Schema = Record<string, unknown>;
type Reference = { readonly $ref: string };
/** The parts of an OpenAPI document that are completed here. https://spec.openapis.org/oas/v3.1.1 */
type Response = { description: string; headers?: Record<string, Reference>; content?: Schema };
type Operation = {
  operationId?: string;
  parameters?: unknown[];
  security?: unknown[];
  responses: Record<string, Response>;
};
type Document = { paths: Record<string, Record<string, Operation>>; components: Record<string, unknown> };

const COMPONENTS = '#/components/schemas/';
/** The groups of operations, in the order of the reference. */
const TAGS = [
  ...['Advertisers', 'Budgets', 'Campaigns', 'Ads', 'Links', 'Reports', 'Statements', 'Clicks', 'Exports'],
  ...['Webhooks', 'Live', 'Samples', 'Operations', 'Dead letters', 'API keys', 'Sessions', 'Audit log'],
];

const DESCRIPTION = `Manage advertisers, budgets, campaigns, ads and links, and read what was clicked and charged.

- **Keys**: send \`Authorization: Bearer <API key>\`. \`npx tollway key create --role admin\` makes the first key.
- **Errors** are problem details of RFC 9457. \`code\` is stable; \`detail\` is for people.
- **Amounts** are decimal strings in the currency of the advertiser. **Times** are RFC 3339, in UTC in answers.
- **Lists** have pages: pass \`nextCursor\` of an answer as \`cursor\`. Unknown fields and query parameters are errors.
- **ETags**: send the \`ETag\` of what you have read as \`If-Match\` of a change; the change is refused if another one came first.
- **Retries**: send an \`Idempotency-Key\` with a POST. A repeated request gets the first answer again, for 24 hours.`;

/**
 * Collects the routes that are added afterwards. `app.openApi()` makes the OpenAPI document of them at its first call, by an app of its own: the
 * modules for it would add a tenth to the time that a console needs to start.
 */
export function describeRoutes(app: App, cookie: SessionCookie): void {
  const routes: RouteOptions[] = [];
  app.addHook('onRoute', (route) => {
    if (route.schema && !route.schema.hide && route.method !== 'HEAD') routes.push(route);
  });
  let document: Promise<object> | undefined;
  app.decorate('openApi', () => {
    document ??= makeDocument(routes, cookie);
    return document;
  });
}

async function makeDocument(routes: readonly RouteOptions[], cookie: SessionCookie): Promise<object> {
  const { default: swagger } = await import('@fastify/swagger');
  const app = fastify({ exposeHeadRoutes: false });
  await app.register(swagger, swaggerOptions(routes, cookie));
  for (const { method, url, schema = {} } of routes)
    app.route({
      method,
      url,
      schema,
      validatorCompiler: () => () => true,
      serializerCompiler: () => String,
      handler: () => {},
    });
  await app.ready();
  const made = app.swagger();
  await app.close();
  return made;
}

function swaggerOptions(
  described: readonly RouteOptions[],
  cookie: SessionCookie,
): FastifyDynamicSwaggerOptions {
  const schemas: Record<string, Schema> = {};
  const toJson = (schema: unknown) => (schema instanceof z.ZodType ? toJsonSchema(schema, schemas) : schema);
  const routes = new Map(described.map((route) => [String(route.schema?.operationId), route]));
  return {
    openapi: {
      openapi: '3.1.0',
      info: {
        title: 'Tollway',
        version: readVersion(),
        description: DESCRIPTION,
        license: { name: 'Apache-2.0', identifier: 'Apache-2.0' },
      },
      servers: [{ url: '/' }],
      tags: TAGS.map((name) => ({ name })),
      components: {
        securitySchemes: {
          apiKey: { type: 'http', scheme: 'bearer', description: 'API key: `tollway_…`' },
          session: {
            ...{ type: 'apiKey', in: 'cookie', name: cookie.name },
            description: 'Session of a browser, which `POST /v1/session` begins.',
          },
        },
      },
      security: [{ apiKey: [] }, { session: [] }],
    },
    transform: ({ schema, url }) => {
      if (!schema || schema.hide) return { schema: { hide: true }, url };
      const { body, querystring, params, response, ...rest } = schema;
      const responses = Object.entries((response ?? {}) as Record<string, unknown>);
      return {
        url,
        schema: {
          ...rest,
          ...(body !== undefined && { body: toJson(body) }),
          ...(querystring !== undefined && { querystring: toJson(querystring) }),
          ...(params !== undefined && { params: toJson(params) }),
          response: Object.fromEntries(responses.map(([status, one]) => [status, toResponse(one, toJson)])),
        },
      };
    },
    transformObject: (made) => {
      const document = ('openapiObject' in made ? made.openapiObject : {}) as unknown as Document;
      for (const operation of Object.values(document.paths).flatMap((path) => Object.values(path)))
        complete(operation, routes.get(operation.operationId ?? ''));
      toJson(Problem);
      Object.assign(document.components, { schemas, headers: HEADERS, parameters: PARAMETERS });
      return document;
    },
  };
}

/** The response of a status: JSON by a schema, or what the route declares for other media types. */
function toResponse(response: unknown, toJson: (schema: unknown) => unknown): unknown {
  if (response instanceof z.ZodUndefined) return { type: 'null', description: 'Done.' };
  if (response instanceof z.ZodType) return toJson(response);
  const { content, ...rest } = response as { content: Record<string, { schema: unknown }> };
  const types = Object.entries(content).map(([type, { schema }]) => [type, { schema: toJson(schema) }]);
  return { ...rest, content: Object.fromEntries(types) };
}

/**
 * The JSON Schema of the JSON that a schema of zod decodes, which is the JSON that it encodes too. A schema with an id becomes a component,
 * which is added to `components`.
 */
function toJsonSchema(schema: z.ZodType, components: Record<string, Schema>): Schema {
  const { items, $defs = {} } = z.toJSONSchema(z.array(schema), {
    io: 'input',
    override: ({ zodSchema, jsonSchema }) => {
      delete jsonSchema.id;
      restoreMeta(zodSchema, jsonSchema);
    },
  });
  const withRefs = (value: unknown) =>
    JSON.parse(JSON.stringify(value).replaceAll('"#/$defs/', `"${COMPONENTS}`), mergeNull) as Schema;
  for (const [id, definition] of Object.entries($defs)) components[id] ??= withRefs(definition);
  return withRefs(items);
}

/** Adds examples and the default of a codec. zod leaves them out, because it takes them for decoded values. */
function restoreMeta(schema: z.core.$ZodType, json: z.core.JSONSchema.BaseSchema): void {
  const { examples, default: stated } = z.globalRegistry.get(schema) ?? {};
  if (examples) json.examples ??= examples as unknown[];
  if (stated !== undefined) json.default ??= stated as never;
  const { def } = schema._zod as z.core.$ZodDefaultInternals;
  if (def.type === 'default' && json.default === undefined)
    json.default = z.encode(def.innerType, def.defaultValue as never) as never;
}

/**
 * A reviver of JSON.parse that writes a value that can be null as one schema with two types. It runs when all is written: a codec in several
 * places has its type only in the end.
 */
function mergeNull(_key: string, schema: unknown): unknown {
  const { anyOf, ...rest } = (schema ?? {}) as z.core.JSONSchema.BaseSchema;
  if (!Array.isArray(anyOf)) return schema;
  const [value, other, ...more] = anyOf;
  if (more.length > 0 || other?.type !== 'null' || typeof value?.type !== 'string') return schema;
  return {
    ...value,
    type: [value.type, 'null'],
    ...(value.enum && { enum: [...value.enum, null] }),
    ...rest,
  };
}

/** Adds what follows from the method and the configuration of a route: headers, errors, and that a public route needs no key. */
function complete(operation: Operation, route: RouteOptions | undefined): void {
  if (!route) return;
  const { method, config, schema } = route;
  const isChange = method === 'PATCH' || method === 'PUT';
  const parameters = [
    ...(method === 'POST' && config?.access !== 'public' ? ['IdempotencyKey'] : []),
    ...(isChange && config?.etag ? ['IfMatch'] : []),
  ].map((name) => ({ $ref: `#/components/parameters/${name}` }));
  if (parameters.length > 0) operation.parameters = [...(operation.parameters ?? []), ...parameters];
  if (config?.access === 'public') operation.security = [];
  const { responses } = operation;
  for (const response of Object.values(responses)) {
    if (response.description === 'Default Response') response.description = 'Success.';
    const names = ['RateLimit-Limit', 'RateLimit-Remaining', 'RateLimit-Reset'];
    if (config?.etag) names.push('ETag');
    response.headers = { ...response.headers, ...headerRefs(names) };
  }
  const codes = errorsOf(route, schema !== undefined && 'body' in schema && schema.body !== undefined);
  for (const [status, some] of Map.groupBy(codes, statusOf))
    responses[status] = problemResponse(status, some);
}

/** The codes of all errors that a route can answer with. */
function errorsOf({ method, config }: RouteOptions, hasBody: boolean): ErrorCode[] {
  const isChange = method === 'PATCH' || method === 'PUT';
  return [
    'bad_request',
    ...(config?.access === 'public' ? [] : (['unauthenticated', 'forbidden'] as const)),
    ...(config?.errors ?? []),
    ...(method === 'POST' && config?.access !== 'public' ? (['idempotency_key_reused'] as const) : []),
    ...(isChange && config?.etag ? (['stale_etag'] as const) : []),
    'not_acceptable',
    'headers_too_large',
    ...(hasBody ? (['request_timeout', 'body_too_large', 'unsupported_media_type'] as const) : []),
    'rate_limited',
    'internal',
    ...(['database_away', 'not_migrated'] as const),
    ...(method === 'GET' ? [] : (['busy', 'commit_unknown'] as const)),
  ];
}

function problemResponse(status: number, codes: readonly ErrorCode[]): Response {
  const names = [
    ...(status === 429 || status === 503 ? ['Retry-After'] : []),
    ...(status === 401 ? ['WWW-Authenticate'] : []),
  ];
  return {
    description: `Error: ${codes.map((code) => `\`${code}\``).join(', ')}.`,
    ...(names.length > 0 && { headers: headerRefs(names) }),
    content: { [PROBLEM_TYPE]: { schema: { $ref: `${COMPONENTS}Problem` } } },
  };
}

function headerRefs(names: readonly string[]): Record<string, Reference> {
  return Object.fromEntries(names.map((name) => [name, { $ref: `#/components/headers/${name}` }]));
}

const header = (type: 'integer' | 'string', description: string) =>
  ({ description, schema: { type } }) as const;

const HEADERS = {
  ETag: header('string', 'Version of the settings of the resource, for `If-Match`.'),
  'RateLimit-Limit': header('integer', 'Requests of the key that one window allows.'),
  'RateLimit-Remaining': header('integer', 'Requests that the present window still allows.'),
  'RateLimit-Reset': header('integer', 'Seconds until the next window.'),
  'Retry-After': header('integer', 'Seconds to wait before the request is sent again.'),
  'WWW-Authenticate': header('string', '`Bearer`: an API key is expected.'),
};

const PARAMETERS = {
  IdempotencyKey: {
    name: 'Idempotency-Key',
    in: 'header',
    description:
      'Unique for each new request, such as a UUID. The same request with the same key is carried out once, and gets the same answer for 24 hours.',
    schema: { type: 'string', minLength: 1, maxLength: 255, pattern: '^[!-~]+$' },
  },
  IfMatch: {
    name: 'If-Match',
    in: 'header',
    description: '`ETag` of the resource as it was read. If it has changed since, the request gets 412.',
    schema: { type: 'string' },
  },
};
