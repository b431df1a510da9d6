import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import type { FastifyInstance, RouteOptions } from 'fastify';
import type { InjectOptions, Response } from 'light-my-request';
import { afterAll, beforeAll } from 'vitest';
import { parseConfig } from '../../common/config/config.ts';
import { createMetrics } from '../../common/telemetry/metrics.ts';
import { createApp } from '../../console/api/app.ts';
import type { App } from '../../console/api/deps.ts';
import { type ApiKeyTerms, createKey } from '../../ledger/access/api-keys.ts';
import type { TestDatabase } from '../support/database.ts';
import { silent } from '../support/loggers.ts';
import { assertDescribed } from './described-answers.ts';

/** The answer of the API: status, headers, and the parsed body. */
// biome-ignore lint/suspicious/noExplicitAny: tests read bodies of every form.
export type Answer = { readonly status: number; readonly headers: Response['headers']; readonly body: any };

type Method = NonNullable<InjectOptions['method']>;
type RequestOptions = {
  readonly key?: string;
  readonly headers?: Record<string, string>;
  readonly body?: unknown;
};

/** The HTTP API on a database of a test, without a port, and a key of an administrator. */
export type TestApi = {
  readonly app: App;
  /** Text of a key of an administrator, which `send` uses unless it is given another one. */
  readonly adminKey: string;
  /** Sends a request. A body is sent as JSON, or as it is if it is a text. Throws an `Error` for an answer that is not as the OpenAPI document says. */
  readonly send: (method: Method, url: string, options?: RequestOptions) => Promise<Answer>;
  /** All routes, such as `GET /v1/advertisers/:advertiserId`, without HEAD. */
  readonly routes: () => string[];
  /** Creates a key and returns its text. */
  readonly addKey: (terms: Omit<ApiKeyTerms, 'name'>) => Promise<string>;
};

/** Creates the API for the suite that calls it, at the top of its file or of a `describe`. `env` has settings. */
export function testApi(database: TestDatabase, env: Readonly<Record<string, string>> = {}): TestApi {
  let app: App;
  let adminKey = '';
  let routes: readonly RouteOptions[] = [];
  const addKey = async (terms: Omit<ApiKeyTerms, 'name'>) =>
    (await createKey(database.pool, { name: 'Test key', ...terms })).key;
  beforeAll(async () => {
    const { pool } = database;
    const deps = { pool, longPool: pool, config: parseConfig(env), metrics: createMetrics(), logger: silent };
    const collector = collectRoutes();
    app = await createApp(deps);
    collector.stop();
    routes = collector.routes;
    adminKey = await addKey({ role: 'admin' });
  });
  afterAll(() => app.close());
  return {
    get app() {
      return app;
    },
    get adminKey() {
      return adminKey;
    },
    addKey,
    routes: () => namesOf(routes),
    send: async (method, url, { key = adminKey, headers = {}, body } = {}) => {
      const response = await app.inject({
        ...{ method, url },
        headers: {
          authorization: `Bearer ${key}`,
          ...(body !== undefined && { 'content-type': 'application/json' }),
          ...headers,
        },
        ...(body !== undefined && { payload: typeof body === 'string' ? body : JSON.stringify(body) }),
      });
      const parsed = response.body === '' ? null : JSON.parse(response.body);
      await assertDescribed(app, { method, url, response, body: parsed });
      return { status: response.statusCode, headers: response.headers, body: parsed };
    },
  };
}

/** Collects the routes of the applications that are created until `stop`. */
function collectRoutes(): { routes: readonly RouteOptions[]; stop: () => void } {
  const routes: RouteOptions[] = [];
  // https://fastify.dev/docs/latest/Reference/Hooks/#diagnostics-channel-hooks
  const onApp = (message: unknown) => {
    (message as { fastify: FastifyInstance }).fastify.addHook('onRoute', (route) => void routes.push(route));
  };
  subscribe('fastify.initialization', onApp);
  return { routes, stop: () => void unsubscribe('fastify.initialization', onApp) };
}

/** Routes as `GET /v1/ads`. */
function namesOf(routes: readonly RouteOptions[]): string[] {
  const names = routes.flatMap(({ method, url }) => [method].flat().map((one) => `${one} ${url}`));
  return names.filter((name) => !name.startsWith('HEAD '));
}
