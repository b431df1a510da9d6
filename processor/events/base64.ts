import { counted } from '../../common/counted.ts';
import { writeJson } from '../../common/json.ts';
import { type ReadRecord, readRecord } from '../../contract/click-event.ts';

/**
 * Reads a record whose payload an event carries as base64. Never throws: a payload that is not, or that is
 * missing, is `unreadable` with what came as its bytes, and ends as a dead letter that names the field.
 */
export function readBase64Record(
  { key, data, field }: { key: string | null; data: unknown; field: string },
  position: string,
): ReadRecord {
  const value = typeof data === 'string' ? decodeBase64(data) : null;
  if (value !== null) return readRecord({ key, value }, position);
  const isMissing = data === undefined || data === null;
  const text = isMissing ? null : writeJson(data);
  const came = text === null ? null : Buffer.from(text);
  const { from } = readRecord({ key, value: null }, position);
  let got = 'nothing';
  if (!isMissing)
    got = came === null ? 'a value nested too deeply' : `${counted(came.length, 'byte')} of other data`;
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

/**
 * The bytes of base64 with its padding (RFC 4648 §4), as AWS writes it; `null` for any other text. In time proportional to the
 * length: a pattern with more than one repetition in it may take the square of it for what a stranger sends.
 */
export function decodeBase64(text: string): Buffer | null {
  const padding = text.endsWith('==') ? 2 : text.endsWith('=') ? 1 : 0;
  if (text.length % 4 !== 0 || /[^A-Za-z0-9+/]/.test(text.slice(0, text.length - padding))) return null;
  return Buffer.from(text, 'base64');
}
