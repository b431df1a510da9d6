import { TollwayError } from '../../common/errors.ts';
import type { ClickRequest } from '../redirect/redirect.ts';

/**
 * Parses a request of API Gateway's HTTP API or of a function URL (payload format 2.0). Throws `bad_event` for any other event.
 * https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-integrations-lambda.html
 */
export function readHttpEvent(functionName: string, event: unknown): ClickRequest {
  // Every field is checked before use.
  const fields = asFields(event);
  const { http, stage } = asFields(fields.requestContext);
  const { method, sourceIp } = asFields(http);
  const { version, rawPath, rawQueryString, headers, pathParameters } = fields;
  const { token } = asFields(pathParameters);
  if (version !== '2.0' || typeof rawPath !== 'string' || typeof method !== 'string') {
    const names = Object.keys(fields).slice(0, 8).join(', ') || 'nothing';
    throw new TollwayError(
      'bad_event',
      `${functionName}: version, rawPath and requestContext.http.method: expected a request in payload format 2.0, got ${names}`,
    );
  }
  const query = typeof rawQueryString === 'string' && rawQueryString !== '' ? `?${rawQueryString}` : '';
  return {
    method,
    url: (typeof token === 'string' ? linkPath(token) : withoutStage(rawPath, stage)) + query,
    // The platform joins the values of a repeated header with commas, as Node does.
    headers: Object.fromEntries(
      Object.entries(asFields(headers)).flatMap(([name, value]) =>
        typeof value === 'string' ? [[name.toLowerCase(), value]] : [],
      ),
    ),
    peer: typeof sourceIp === 'string' ? sourceIp : undefined,
  };
}

/**
 * The path of a link, from the parameter of the route `/c/{token+}`. Behind a custom domain, the raw path begins with the key of the API
 * mapping, which is not in the event. https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-mappings.html
 */
function linkPath(token: string): string {
  return `/c/${encodeURIComponent(token)}`;
}

/** A path without its stage. A stage other than `$default` is the first segment of the path. */
function withoutStage(path: string, stage: unknown): string {
  if (typeof stage !== 'string' || stage === '$default' || !path.startsWith(`/${stage}/`)) return path;
  return path.slice(stage.length + 1);
}

function asFields(value: unknown): Record<string, unknown> {
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};
}
