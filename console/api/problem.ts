import type { FastifyError, FastifyReply, FastifyRequest } from 'fastify';
import * as z from 'zod';
import type { ErrorCode } from '../../common/error-codes.ts';
import { errorCode, errorMessage, TollwayError } from '../../common/errors.ts';
import { isCommitUnanswered, isDatabaseUnavailable } from '../../common/postgres/postgres.ts';
import { isSchemaMissing } from '../../common/postgres/schema.ts';
import { fieldErrors } from './problem-fields.ts';

/** What is wrong with one value of a request. */
const ProblemError = z.strictObject({
  pointer: z.string().meta({ description: 'JSON pointer of the value.', examples: ['/amount'] }),
  detail: z.string().meta({ description: 'What was expected, and what came.' }),
});

/** The body of every error: https://www.rfc-editor.org/rfc/rfc9457 */
export const Problem = z
  .strictObject({
    type: z.string().meta({ examples: ['urn:tollway:error:bad_request'] }),
    title: z.string().meta({ examples: ['Bad request'] }),
    status: z
      .int()
      .min(400)
      .max(599)
      .meta({ examples: [400] }),
    detail: z.string().meta({ description: 'What was expected, what came, and which one.' }),
    code: z
      .string()
      .meta({ description: 'Stable code; programs can branch on it.', examples: ['bad_request'] }),
    errors: z
      .array(ProblemError)
      .optional()
      .meta({ description: 'One for each wrong value of the request.' }),
  })
  .meta({ id: 'Problem', description: 'Error as problem details of RFC 9457.' });

export type Problem = z.infer<typeof Problem>;

/** Answers to a request that failed have this media type. */
export const PROBLEM_TYPE = 'application/problem+json';

/**
 * The status of each error that a route can answer with. A code that begins with `bad_` and is not listed has 400, one that begins with
 * `unknown_` 404, and every other code 500.
 */
const STATUSES = {
  already_discarded: 409,
  body_too_large: 413,
  busy: 503,
  cap_below_spent: 422,
  commit_unknown: 503,
  database_away: 503,
  day_closed: 410,
  external_id_taken: 409,
  forbidden: 403,
  headers_too_large: 431,
  idempotency_key_reused: 409,
  internal: 500,
  is_watermark: 409,
  kafka: 503,
  kafka_away: 503,
  kafka_compression: 503,
  kafka_login: 503,
  kafka_rights: 503,
  kafka_tls: 503,
  kafka_topic: 503,
  kinesis: 503,
  kinesis_away: 503,
  kinesis_login: 503,
  kinesis_region: 503,
  kinesis_stream: 503,
  lost_race: 503,
  method_not_allowed: 405,
  no_partition_yet: 503,
  no_samples: 409,
  no_signing_key: 503,
  not_acceptable: 406,
  not_charged: 422,
  not_enough_budget: 422,
  not_found: 404,
  not_migrated: 503,
  query_too_long: 422,
  rate_limited: 429,
  reference_taken: 409,
  replica: 503,
  request_timeout: 408,
  samples_running: 409,
  samples_unknown: 409,
  stale_etag: 412,
  too_many_rows: 400,
  too_many_webhooks: 409,
  unauthenticated: 401,
  unsupported_media_type: 415,
  unsupported_postgres: 503,
  webhook_not_active: 409,
} as const satisfies Partial<Record<ErrorCode, number>>;

/** A code with a status of its own, which a route can declare. */
export type RouteErrorCode =
  | keyof typeof STATUSES
  | Extract<ErrorCode, `bad_${string}` | `unknown_${string}`>;

/** The HTTP status of an error with this code. */
export function statusOf(code: ErrorCode): number {
  const statuses: Partial<Record<ErrorCode, number>> = STATUSES;
  return statuses[code] ?? (code.startsWith('bad_') ? 400 : code.startsWith('unknown_') ? 404 : 500);
}

/** Creates the problem details of an error. */
export function problem(code: ErrorCode, detail: string, errors?: Problem['errors']): Problem {
  const words = code.replaceAll('_', ' ');
  return {
    type: `urn:tollway:error:${code}`,
    title: words.charAt(0).toUpperCase() + words.slice(1),
    status: statusOf(code),
    detail,
    code,
    ...(errors && { errors }),
  };
}

/** Sends problem details. */
export function sendProblem(reply: FastifyReply, body: Problem): FastifyReply {
  return reply.code(body.status).type(PROBLEM_TYPE).send(JSON.stringify(body));
}

/** Seconds after which a client can try again when the database does not answer or a lock is held. */
const RETRY_AFTER_S = 1;
/** Errors with status 503 that last until an operator has removed their cause: a client that tries again soon gets them again. */
const LASTING: ReadonlySet<string> = new Set<ErrorCode>([
  ...(['kafka_compression', 'kafka_login', 'kafka_rights', 'kinesis_login', 'kinesis_region'] as const),
  ...(['no_signing_key', 'not_migrated', 'replica', 'unsupported_postgres'] as const),
]);

/** Answers a request that failed. An unexpected error is logged with its stack, and the answer does not show it. */
export function handleError(error: unknown, request: FastifyRequest, reply: FastifyReply): FastifyReply {
  // What the failed handler has set does not belong to the error.
  for (const name of ['etag', 'location', 'tollway-until']) reply.removeHeader(name);
  const body = problemOf(error, request);
  if (body === null) {
    request.log.error(
      { err: error },
      'A request of the console failed unexpectedly. Clicks are not affected',
    );
    return sendProblem(reply, problem('internal', 'The console failed unexpectedly; its log has the reason'));
  }
  if (body.status === 503 && !LASTING.has(body.code)) reply.header('retry-after', RETRY_AFTER_S);
  if (body.status === 401) reply.header('www-authenticate', 'Bearer realm="tollway"');
  return sendProblem(reply, body);
}

/** The problem of an error of a request, or `null` if it is unexpected. */
function problemOf(error: unknown, { method, body }: FastifyRequest): Problem | null {
  if (error instanceof TollwayError) {
    if (statusOf(error.code) === 500) return null;
    return problem(error.code, error.message, fieldErrors(error, body));
  }
  if (isValidationError(error)) return validationProblem(error);
  // A GET can commit too, such as the sums of a report, but it makes no change that its caller has asked for.
  if (method !== 'GET' && isCommitUnanswered(error)) return problem('commit_unknown', COMMIT_UNKNOWN);
  if (isDatabaseUnavailable(error))
    return problem('database_away', 'The database does not answer; try again');
  if (LOCKED.test(errorCode(error) ?? '')) {
    return problem('busy', 'Another change holds what this one needs; try again');
  }
  if (isSchemaMissing(error)) {
    const detail = `The database lacks a table, column or function of the ledger: ${errorMessage(error)}. Check DATABASE_URL, or run npm run migrate`;
    return problem('not_migrated', detail);
  }
  return fastifyProblem(error);
}

const COMMIT_UNKNOWN =
  'The database stopped answering during the commit, so the change may have been made. Send a POST again with the same Idempotency-Key; before any other request, get the resource';

function isValidationError(error: unknown): error is FastifyError {
  return error instanceof Error && 'validation' in error && Array.isArray(error.validation);
}

/** SQLSTATEs of a lock timeout, a deadlock and a serialization failure. */
const LOCKED = /^(55P03|40P01|40001)$/;

/** All wrong values of a request, and the first of them as the detail. */
function validationProblem({ validation, validationContext = 'body' }: FastifyError): Problem {
  const errors = (validation ?? []).map(({ instancePath, message = '' }) => ({
    pointer: instancePath,
    detail: message,
  }));
  const [first = { pointer: '', detail: '' }] = errors;
  const more = errors.length > 1 ? ` (and ${errors.length - 1} more)` : '';
  const detail = `${PLACES[validationContext] ?? validationContext}${first.pointer}: ${first.detail}${more}`;
  return problem('bad_request', detail, errors);
}

const PLACES: Readonly<Record<string, string>> = { querystring: 'query', params: 'path' };

/** Errors that Fastify itself makes. https://fastify.dev/docs/latest/Reference/Errors/ */
function fastifyProblem(error: unknown): Problem | null {
  const { message, statusCode = 500 } = error as FastifyError;
  switch (errorCode(error)) {
    case 'FST_ERR_CTP_BODY_TOO_LARGE':
      return problem('body_too_large', message);
    case 'FST_ERR_CTP_INVALID_MEDIA_TYPE':
      return problem('unsupported_media_type', 'Expected a body of the type application/json');
    default:
      return statusCode >= 400 && statusCode < 500 ? problem('bad_request', message) : null;
  }
}
