import { createHash } from 'node:crypto';
import type { FastifyRequest } from 'fastify';
import { TollwayError } from '../../common/errors.ts';

/** Characters of an ETag between its quotes: 96 bits. */
const CHARS = 16;

/** The strong ETag of the settings of a resource: values that only a change of settings changes, not what is spent. */
export function etagOf(settings: object): string {
  const text = JSON.stringify(settings, (_, value) => (typeof value === 'bigint' ? String(value) : value));
  return `"${createHash('sha256').update(text).digest('base64url').slice(0, CHARS)}"`;
}

/**
 * Compares `If-Match` of a request with the present ETag, or `null` if the resource does not exist yet. Call it under the lock of the
 * resource. Without the header it accepts everything.
 * Throws `stale_etag`. https://www.rfc-editor.org/rfc/rfc9110#section-13.1.1
 */
export function assertMatch(request: FastifyRequest, etag: string | null): void {
  const given = request.headers['if-match'];
  if (given === undefined || (etag !== null && given.trim() === '*')) return;
  // A proxy that compresses answers can make an ETag weak or add a suffix. A weak one never matches, as the RFC says.
  if (given.split(',').some((one) => one.trim() === etag)) return;
  const expected = etag === null ? 'no such header, because nothing exists yet' : `the present ETag ${etag}`;
  throw new TollwayError('stale_etag', `If-Match: expected ${expected}, got ${given}`);
}
