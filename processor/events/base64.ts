import { type ReadRecord, readRecord } from '../../producer/click-event.ts';

/** RFC 4648 §4, with padding, as AWS writes it. */
const BASE64 = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/;

/**
 * Reads a record whose payload an event carries as base64. Never throws: a payload that is not, or that is
 * missing, is `unreadable` with what came as its bytes, and ends as a dead letter that names the field.
 */
export function readBase64Record(
  { key, data, field }: { key: string | null; data: unknown; field: string },
  position: string,
): ReadRecord {
  if (typeof data === 'string' && BASE64.test(data)) {
    return readRecord({ key, value: Buffer.from(data, 'base64') }, position);
  }
  const came = data === undefined || data === null ? null : Buffer.from(JSON.stringify(data));
  const { from } = readRecord({ key, value: null }, position);
  const got = came === null ? 'nothing' : `${came.length} bytes that are not`;
  return {
    is: 'unreadable',
    key,
    value: came,
    position,
    from,
    reason: 'malformed',
    detail: `Expected base64 in ${field}, got ${got}`,
  };
}
