import { TollwayError } from '../../common/errors.ts';
import type { ClickRequest } from '../redirect/redirect.ts';

/**
 * Reads a request as API Gateway's HTTP API and function URLs hand it over (payload format 2.0). Throws `bad_event` for
 * anything else. https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-integrations-lambda.html
 */
export function readHttpEvent(functionName: string, event: unknown): ClickRequest {
  // Every field is looked at before it is believed.
  const given = asFields(event);
  const { http, stage } = asFields(given.requestContext);
  const { method, sourceIp } = asFields(http);
  const { version, rawPath, rawQueryString, headers, pathParameters } = given;
  const { token } = asFields(pathParameters);
  if (version !== '2.0' || typeof rawPath !== 'string' || typeof method !== 'string') {
    const names = Object.keys(given).slice(0, 8).join(', ') || 'nothing';
    throw new TollwayError(
      'bad_event',
      `${functionName}: version, rawPath and requestContext.http.method: expected a request in payload format 2.0, got ${names}`,
    );
  }
  const query = typeof rawQueryString === 'string' && rawQueryString !== '' ? `?${rawQueryString}` : '';
  return {
    method,
    url: (typeof token === 'string' ? linkPath(token) : withoutStage(rawPath, stage)) + query,
    // Names come in lower case; a header that came twice is joined by commas, as Node does it.
    headers: Object.fromEntries(
      Object.entries(asFields(headers)).flatMap(([name, value]) =>
        typeof value === 'string' ? [[name.toLowerCase(), value]] : [],
      ),
    ),
    peer: typeof sourceIp === 'string' ? sourceIp : undefined,
  };
}

/**
 * The path of a link whose route is `/c/{token+}`. Behind a custom domain, the raw path begins with the key of the API mapping, which the
 * event does not name. https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-mappings.html
 */
function linkPath(token: string): string {
  return `/c/${encodeURIComponent(token)}`;
}

/** A stage with a name of its own is the first part of the path. */
function withoutStage(path: string, stage: unknown): string {
  if (typeof stage !== 'string' || stage === '$default' || !path.startsWith(`/${stage}/`)) return path;
  return path.slice(stage.length + 1);
}

function asFields(value: unknown): Record<string, unknown> {
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};
}
