import type { IncomingMessage, ServerResponse } from 'node:http';
import type { FastifyBaseLogger, FastifyInstance, RawServerDefault } from 'fastify';
import type { ZodTypeProvider } from 'fastify-type-provider-zod';
import type { Config } from '../../common/config/config.ts';
import type { Pool } from '../../common/postgres/postgres.ts';
import type { Logger } from '../../common/telemetry/logger.ts';
import type { Metrics } from '../../common/telemetry/metrics.ts';
import type { ReportingState } from '../../ledger/operations/reporting-state.ts';
import type { LongRequests } from './long-requests.ts';
import type { RouteErrorCode } from './problem.ts';
import type { SessionCookie } from './session-cookie.ts';

/** What the routes work with. */
export type Deps = {
  readonly pool: Pool;
  /** For the routes of `LongDeps` alone. */
  readonly longPool: Pool;
  readonly config: Config;
  readonly metrics: Metrics;
  readonly logger: Logger;
  /** Whether the database takes the reports of this process; absent if it does not report. */
  readonly reportingState?: () => ReportingState;
};

/** What the routes whose requests can use the database for minutes need besides. */
export type LongDeps = Deps & { readonly longRequests: LongRequests };

/** What the routes of sessions need besides. */
export type SessionDeps = Deps & { readonly cookie: SessionCookie };

/** The application that routes are added to. */
export type App = FastifyInstance<
  RawServerDefault,
  IncomingMessage,
  ServerResponse,
  FastifyBaseLogger,
  ZodTypeProvider
>;

declare module 'fastify' {
  interface FastifyInstance {
    /** The OpenAPI document of the routes. */
    openApi(): Promise<object>;
  }
  interface FastifyContextConfig {
    /** The codes of errors that the route can answer with, besides those that every route can. The OpenAPI document lists them. */
    errors?: readonly RouteErrorCode[];
    /** Whether successful answers have an ETag. A PATCH or PUT then compares `If-Match`. */
    etag?: boolean;
    /** The media types of successful answers; by default JSON. */
    produces?: readonly string[];
    /** The answer holds a secret, so it is stored encrypted for repeated requests. */
    secretAnswer?: boolean;
    /** The body has a key or the token of a login link. Wrong ones count like wrong keys of other requests. */
    isLogin?: boolean;
  }
  interface FastifyRequest {
    /** The body as it came; empty without one. */
    rawBody: string;
  }
}
