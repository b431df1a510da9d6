import fastify, { type FastifyBaseLogger, LogController } from 'fastify';
import { serializerCompiler, type ZodTypeProvider } from 'fastify-type-provider-zod';
import * as z from 'zod';
import { servePage } from '../serve-page.ts';
import { assertAcceptable, noteProduced } from './accept.ts';
import { assertRule } from './access.ts';
import { createAuthenticator } from './authenticate.ts';
import { parseBodies } from './bodies.ts';
import { answerClientError } from './client-errors.ts';
import type { App, Deps } from './deps.ts';
import { LongRequests } from './long-requests.ts';
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
import { clickListRoute } from './routes/click-list.ts';
import { clickRoutes } from './routes/clicks.ts';
import { creditRoutes } from './routes/credits.ts';
import { deadLetterRoutes } from './routes/dead-letters.ts';
import { eventRoutes } from './routes/events.ts';
import { exportRoutes } from './routes/exports.ts';
import { keyRoutes } from './routes/keys.ts';
import { linkRoutes } from './routes/links.ts';
import { operationsRoutes } from './routes/operations.ts';
import { reconciliationRoutes } from './routes/reconciliation.ts';
import { reportRoutes } from './routes/reports.ts';
import { sampleRoutes } from './routes/samples.ts';
import { sessionRoutes } from './routes/session.ts';
import { statementRoutes } from './routes/statements.ts';
import { statusRoutes } from './routes/status.ts';
import { webhookDeliveryRoutes } from './routes/webhook-deliveries.ts';
import { webhookRoutes } from './routes/webhooks.ts';
import { sessionCookie } from './session-cookie.ts';
import { answerUnknownRoutes } from './unknown-routes.ts';
import { createKeyUse, createSessionUse } from './use-log.ts';
import { assertQueryText, validatorCompiler } from './validation.ts';

/** Largest body of a request, in bytes. */
export const BODY_BYTES_MAX = 1_048_576;
/** Longest time, in ms, in which a client must have sent the headers of a request, and all of it. */
const HEADERS_MS_MAX = 10_000;
const REQUEST_MS_MAX = 30_000;
/** How often these are checked, in ms. */
const CHECK_MS = 1_000;

/** Longest parameter of a path, in characters of its encoded form: an external id of 100 characters. */
const PARAMETER_CHARS_MAX = 1_200;

/** Keeps Fastify from loading its own compilers of schemas, a hundred modules: `createApp` sets those of zod. */
const SCHEMA_CONTROLLER = { compilersFactory: { buildValidator: refuse, buildSerializer: refuse } };

function refuse(): never {
  throw new Error('Expected the compilers of zod to be set');
}

/** Creates the HTTP API. It does not listen: `main.ts` does, and tests inject requests. */
export async function createApp(deps: Deps): Promise<App> {
  const app: App = fastify({
    loggerInstance: deps.logger as FastifyBaseLogger,
    // A request is counted, not logged: see request-metrics.ts.
    logController: new LogController({ disableRequestLogging: true }),
    bodyLimit: BODY_BYTES_MAX,
    requestTimeout: REQUEST_MS_MAX,
    http: { headersTimeout: HEADERS_MS_MAX, connectionsCheckingInterval: CHECK_MS },
    clientErrorHandler: answerClientError,
    frameworkErrors: handleError,
    routerOptions: { maxParamLength: PARAMETER_CHARS_MAX },
    schemaController: SCHEMA_CONTROLLER,
    trustProxy: deps.config.TRUSTED_PROXIES.map(({ address, prefix }) => `${address}/${prefix}`),
  }).withTypeProvider<ZodTypeProvider>();
  app.setValidatorCompiler(validatorCompiler);
  app.setSerializerCompiler(serializerCompiler);
  app.setErrorHandler(handleError);
  parseBodies(app);
  answerUnknownRoutes(app);
  countRequests(app, deps.metrics);
  app.addHook('onRoute', assertRule);
  app.addHook('onRoute', noteProduced);
  app.addHook('onRequest', assertQueryText);
  app.addHook('onRequest', assertAcceptable);
  const { pool, logger } = deps;
  const cookie = sessionCookie(deps.config.CONSOLE_PORT);
  limitFailures(app, cookie);
  const uses = { noteKey: createKeyUse(pool, logger), noteSession: createSessionUse(pool, logger) };
  app.addHook('onRequest', createAuthenticator({ pool, cookie, ...uses }));
  await limitRequests(app, deps.config.CONSOLE_REQUESTS_PER_SECOND);
  describeRoutes(app, cookie);
  refuseUnknownParameters(app);
  serveReference(app);
  servePage(app, deps.logger);
  advertiserRoutes(app, deps);
  budgetEntryRoutes(app, deps);
  statusRoutes(app, deps);
  operationsRoutes(app, deps);
  webhookRoutes(app, deps);
  webhookDeliveryRoutes(app, deps);
  statementRoutes(app, deps);
  const long = { ...deps, longRequests: new LongRequests() };
  reportRoutes(app, long);
  clickListRoute(app, deps);
  clickRoutes(app, deps);
  creditRoutes(app, deps);
  exportRoutes(app, long);
  deadLetterRoutes(app, deps);
  reconciliationRoutes(app, long);
  eventRoutes(app, deps);
  campaignRoutes(app, deps);
  adRoutes(app, deps);
  linkRoutes(app, deps);
  auditRoutes(app, deps);
  keyRoutes(app, deps);
  sampleRoutes(app, deps);
  sessionRoutes(app, { ...deps, cookie });
  await app.ready();
  return app;
}

/** A route without a schema of its query accepts no query parameters. */
function refuseUnknownParameters(app: App): void {
  const none = z.strictObject({});
  app.addHook('onRoute', (route) => {
    if (route.schema && !route.schema.hide && route.schema.querystring === undefined)
      route.schema.querystring = none;
  });
}
