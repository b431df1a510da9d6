import type { FastifyRequest } from 'fastify';
import { TollwayError } from '../../common/errors.ts';
import { findRepeatedName, parseJson } from '../../common/json.ts';
import type { App } from './deps.ts';

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/**
 * Parses the bodies of requests: JSON in UTF-8, not compressed. Keeps the text for the comparison of repeated requests. A route without a
 * schema of its body accepts none. Add it before the routes.
 */
export function parseBodies(app: App): void {
  app.decorateRequest('rawBody', '');
  app.removeAllContentTypeParsers();
  app.addContentTypeParser(
    'application/json',
    { parseAs: 'buffer' },
    async (request: FastifyRequest, bytes: Buffer) => {
      assertEncoding(request);
      request.rawBody = decode(bytes);
      // A DELETE or an action without a body can still name its type.
      return request.rawBody === '' ? undefined : parseBody(request.rawBody);
    },
  );
  app.addHook('preValidation', async ({ body, routeOptions }) => {
    if (routeOptions.schema?.body !== undefined || body === undefined || body === null) return;
    if (typeof body === 'object' && Object.keys(body).length === 0) return;
    throw new TollwayError('bad_request', 'body: Expected no body, got one');
  });
}

/** Throws `unsupported_media_type` for another character set than UTF-8, and for a compressed body. */
function assertEncoding({ headers }: FastifyRequest): void {
  const [, charset = 'utf-8'] = /;\s*charset="?([^\s;"]*)/i.exec(headers['content-type'] ?? '') ?? [];
  if (!/^utf-?8$/i.test(charset))
    throw new TollwayError(
      'unsupported_media_type',
      `Content-Type: expected the charset utf-8, got ${charset}`,
    );
  const encoding = headers['content-encoding'] ?? 'identity';
  if (encoding.toLowerCase() !== 'identity')
    throw new TollwayError(
      'unsupported_media_type',
      `Content-Encoding: expected a body that is not compressed, got ${encoding}`,
    );
}

function decode(bytes: Buffer): string {
  try {
    return utf8.decode(bytes);
  } catch {
    throw new TollwayError('bad_request', 'body: Expected UTF-8, got other bytes');
  }
}

/** Parsers disagree about which of two equal names counts, so a proxy could check one value and this API use the other. */
function parseBody(text: string): unknown {
  let value: unknown;
  try {
    value = parseJson(text);
  } catch {
    throw new TollwayError('bad_request', 'body: Expected JSON, got a text that is none');
  }
  const repeated = findRepeatedName(text);
  if (repeated === null) return value;
  const name = JSON.stringify(repeated.slice(0, NAME_CHARS_MAX));
  throw new TollwayError('bad_request', `body: Expected each name of an object once, got ${name} twice`);
}

/** Most characters of a name that an error quotes. */
const NAME_CHARS_MAX = 100;
