import { counted } from '../../common/counted.ts';
import { writeJson } from '../../common/json.ts';
import type { ReadRecord } from '../../contract/click-event.ts';
import { readRecord } from '../../contract/read-record.ts';

/**
 * Reads a record whose payload an event carries as base64. Never throws: a payload that is missing or not base64 becomes an `unreadable`
 * record with the bytes received, which ends as a dead letter that names `field`. `publishedAt` as in `readRecord`.
 */
export function readBase64Record(
  { key, data, field }: { key: string | null; data: unknown; field: string },
  position: string,
  publishedAt?: number,
): ReadRecord {
  const value = typeof data === 'string' ? decodeBase64(data) : null;
  if (value !== null) return readRecord({ key, value }, position, publishedAt);
  const isMissing = data === undefined || data === null;
  const text = isMissing ? null : writeJson(data);
  const received = text === null ? null : Buffer.from(text);
  const { from } = readRecord({ key, value: null }, position);
  let got = 'nothing';
  if (!isMissing)
    got =
      received === null ? 'a value nested too deeply' : `${counted(received.length, 'byte')} of other data`;
  return {
    is: 'unreadable',
    key,
    value: received,
    position,
    from,
    reason: 'malformed',
    detail: `Expected base64 in ${field}, got ${got}`,
  };
}

/**
 * Decodes base64 with padding (RFC 4648 §4), as AWS encodes it; returns `null` for any other text. Takes time linear in the length: a
 * regular expression with more than one repetition could take quadratic time for a malicious text.
 */
export function decodeBase64(text: string): Buffer | null {
  const padding = text.endsWith('==') ? 2 : text.endsWith('=') ? 1 : 0;
  if (text.length % 4 !== 0 || /[^A-Za-z0-9+/]/.test(text.slice(0, text.length - padding))) return null;
  return Buffer.from(text, 'base64');
}
