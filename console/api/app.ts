import fastify, { type FastifyBaseLogger, LogController } from 'fastify';
import { serializerCompiler, type ZodTypeProvider } from 'fastify-type-provider-zod';
import * as z from 'zod';
import { TollwayError } from '../../common/errors.ts';
import { parseJson } from '../../common/json.ts';
import { assertAcceptable } from './accept.ts';
import { assertRule } from './access.ts';
import { createAuthenticator } from './authenticate.ts';
import type { App, Deps } from './deps.ts';
import { createKeyUse } from './key-use.ts';
import { describeRoutes } from './openapi.ts';
import { handleError } from './problem.ts';
import { limitFailures, limitRequests } from './rate-limits.ts';
import { serveReference } from './reference.ts';
import { countRequests } from './request-metrics.ts';
import { adRoutes } from './routes/ads.ts';
import { advertiserRoutes } from './routes/advertisers.ts';
import { auditRoutes } from './routes/audit.ts';
import { budgetEntryRoutes } from './routes/budget-entries.ts';
import { campaignRoutes } from './routes/campaigns.ts';
import { clickRoutes } from './routes/clicks.ts';
import { deadLetterRoutes } from './routes/dead-letters.ts';
import { eventRoutes } from './routes/events.ts';
import { exportRoutes } from './routes/exports.ts';
import { keyRoutes } from './routes/keys.ts';
import { linkRoutes } from './routes/links.ts';
import { reconciliationRoutes } from './routes/reconciliation.ts';
import { reportRoutes } from './routes/reports.ts';
import { statementRoutes } from './routes/statements.ts';
import { validatorCompiler } from './validation.ts';

/** Largest body of a request, in bytes. */
export const BODY_BYTES_MAX = 1_048_576;

/** Longest parameter of a path, in characters of its encoded form: an external id of 100 characters. */
const PARAMETER_CHARS_MAX = 1_200;

/** Creates the HTTP API. It does not listen: `main.ts` does, and tests inject requests. */
export async function createApp(deps: Deps): Promise<App> {
  const app: App = fastify({
    loggerInstance: deps.logger as FastifyBaseLogger,
    // A request is counted, not logged: see request-metrics.ts.
    logController: new LogController({ disableRequestLogging: true }),
    bodyLimit: BODY_BYTES_MAX,
    frameworkErrors: handleError,
    routerOptions: { maxParamLength: PARAMETER_CHARS_MAX },
    trustProxy: deps.config.TRUSTED_PROXIES.map(({ address, prefix }) => `${address}/${prefix}`),
  }).withTypeProvider<ZodTypeProvider>();
  app.setValidatorCompiler(validatorCompiler);
  app.setSerializerCompiler(serializerCompiler);
  app.setErrorHandler(handleError);
  parseBodies(app);
  answerUnknownRoutes(app);
  countRequests(app, deps.metrics);
  await serveReference(app);
  app.addHook('onRoute', assertRule);
  app.addHook('onRequest', assertAcceptable);
  limitFailures(app);
  app.addHook('onRequest', createAuthenticator(deps.pool, createKeyUse(deps.pool, deps.logger)));
  await limitRequests(app, deps.config.CONSOLE_REQUESTS_PER_SECOND);
  await describeRoutes(app);
  refuseUnknownParameters(app);
  advertiserRoutes(app, deps);
  budgetEntryRoutes(app, deps);
  statementRoutes(app, deps);
  reportRoutes(app, deps);
  clickRoutes(app, deps);
  exportRoutes(app, deps);
  deadLetterRoutes(app, deps);
  reconciliationRoutes(app, deps);
  eventRoutes(app, deps);
  campaignRoutes(app, deps);
  adRoutes(app, deps);
  linkRoutes(app, deps);
  auditRoutes(app, deps);
  keyRoutes(app, deps);
  await app.ready();
  return app;
}

/** Parses JSON, and keeps the text for the comparison of repeated requests. No other type is accepted. */
function parseBodies(app: App): void {
  app.decorateRequest('rawBody', '');
  app.removeAllContentTypeParsers();
  app.addContentTypeParser(
    'application/json',
    { parseAs: 'string' },
    async (request: { rawBody: string }, text: string) => {
      request.rawBody = text;
      // A DELETE or an action without a body can still name its type.
      if (text === '') return undefined;
      try {
        return parseJson(text);
      } catch {
        throw new TollwayError('bad_request', 'body: Expected JSON, got a text that is none');
      }
    },
  );
}

/** A route without a schema of its query accepts no query parameters. */
function refuseUnknownParameters(app: App): void {
  const none = z.strictObject({});
  app.addHook('onRoute', (route) => {
    if (route.schema && route.schema.querystring === undefined) route.schema.querystring = none;
  });
}

/** Answers requests without a route: 405 with `Allow` if the path has other methods, and otherwise 404. */
function answerUnknownRoutes(app: App): void {
  const methods = new Map<string, { pattern: RegExp; allowed: Set<string> }>();
  app.addHook('onRoute', ({ url, method }) => {
    const pattern = new RegExp(
      `^${url.replaceAll('.', '\\.').replace(/:\w+/g, '[^/]+').replace('*', '.*')}$`,
    );
    const route = methods.get(url) ?? { pattern, allowed: new Set<string>() };
    for (const one of [method].flat()) route.allowed.add(one);
    methods.set(url, route);
  });
  app.setNotFoundHandler((request, reply) => {
    const path = request.url.split('?')[0] ?? '';
    const allowed = [...methods.values()]
      .filter(({ pattern }) => pattern.test(path))
      .flatMap((route) => [...route.allowed]);
    if (allowed.length === 0)
      throw new TollwayError('not_found', `Expected a path of /v1/openapi.json, got ${path}`);
    reply.header('allow', allowed.join(', '));
    throw new TollwayError(
      'method_not_allowed',
      `Expected one of ${allowed.join(', ')} for ${path}, got ${request.method}`,
    );
  });
}
