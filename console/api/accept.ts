import type { FastifyRequest, RouteOptions } from 'fastify';
import { TollwayError } from '../../common/errors.ts';

const JSON_TYPE = 'application/json';

/**
 * An `onRequest` hook that refuses a request whose `Accept` allows no media type of its route: those in `config.produces`, by default JSON.
 * Throws `not_acceptable`. https://www.rfc-editor.org/rfc/rfc9110#section-12.5.1
 */
export async function assertAcceptable({ headers: { accept }, routeOptions }: FastifyRequest): Promise<void> {
  if (accept === undefined || accept.trim() === '') return;
  const produced = routeOptions.config.produces ?? [JSON_TYPE];
  const ranges = accept.toLowerCase().split(',').map(parseRange);
  if (produced.some((type) => qualityOf(type, ranges) > 0)) return;
  throw new TollwayError('not_acceptable', `Accept: expected ${produced.join(' or ')}, got ${accept}`);
}

/**
 * An `onRoute` hook that sets `config.produces` to the media types that the schema of a route declares. Such a route is a stream, which `HEAD`
 * would read to its end: throws an `Error` unless the route has `exposeHeadRoute: false`.
 */
export function noteProduced(route: RouteOptions): void {
  const { schema, config, method, url } = route;
  const types = Object.entries(schema?.response ?? {}).flatMap(([status, response]) =>
    status.startsWith('2') && 'content' in response ? Object.keys(response.content) : [],
  );
  if (types.length === 0) return;
  if (method === 'HEAD') throw new Error(`Expected exposeHeadRoute: false for the stream ${url}, got HEAD`);
  route.config = { ...config, produces: types };
}

type MediaRange = { readonly type: string; readonly quality: number };

function parseRange(text: string): MediaRange {
  const [type = '', ...parameters] = text.split(';').map((part) => part.trim());
  const [, quality] = parameters.map((one) => /^q=([\d.]+)$/.exec(one)).find(Boolean) ?? [];
  return { type, quality: quality === undefined ? 1 : Number(quality) };
}

/** The quality of the most specific range that matches. */
function qualityOf(type: string, ranges: readonly MediaRange[]): number {
  const [family] = type.split('/');
  for (const pattern of [type, `${family}/*`, '*/*']) {
    const range = ranges.find((one) => one.type === pattern);
    if (range) return range.quality;
  }
  return 0;
}
