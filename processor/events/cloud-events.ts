import type { IncomingHttpHeaders } from 'node:http';
import { parseJson } from '../../common/json.ts';
import { isMarkKey, parseClickKey, type ReadRecord, readRecord } from '../../producer/click-event.ts';
import { badEvent, isObject } from './bad-event.ts';
import { readBase64Record } from './base64.ts';

/**
 * Reads the CloudEvents of an HTTP request: binary, structured or batched. Read here and not by the CloudEvents SDK, which
 * makes up an id for an event that has none, and takes the payload's bytes apart before anybody could keep them.
 * https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/http-protocol-binding.md
 *
 * An event without its attributes becomes an `unreadable` record with its bytes. Throws `bad_event` for a request
 * that does not say of itself that it carries CloudEvents.
 */
export function readCloudEvents(
  functionName: string,
  headers: IncomingHttpHeaders,
  body: Buffer,
  bodyName: string,
): ReadRecord[] {
  const contentType = (headers['content-type'] ?? '').toLowerCase();
  if (contentType.startsWith('application/cloudevents')) {
    return readDocument(contentType.startsWith('application/cloudevents-batch'), body, bodyName);
  }
  if (headers['ce-specversion'] === undefined) {
    const expected = 'the header of a CloudEvent, or the content type application/cloudevents+json';
    throw badEvent(functionName, 'ce-specversion', expected, headers['ce-specversion']);
  }
  const attributes = Object.fromEntries(
    Object.entries(headers)
      .filter(([name]) => name.startsWith('ce-'))
      .map(([name, value]) => [name.slice(3), decode(once(String(value)))]),
  );
  return [readEvent(attributes, { bytes: body, of: 'header ce-' }, bodyName)];
}

function readDocument(isBatch: boolean, body: Buffer, bodyName: string): ReadRecord[] {
  let document: unknown;
  try {
    document = parseJson(body);
  } catch {
    return [unreadable(body, bodyName, `Expected JSON, got ${body.length} bytes that are not`)];
  }
  if (!isBatch) return [readStructured(document, body, bodyName)];
  if (!Array.isArray(document)) return [unreadable(body, bodyName, 'Expected a list of CloudEvents')];
  return document.map((event: unknown, index) =>
    readStructured(event, Buffer.from(JSON.stringify(event)), `${bodyName} event ${index}`),
  );
}

function readStructured(event: unknown, bytes: Buffer, name: string): ReadRecord {
  if (!isObject(event)) return unreadable(bytes, name, 'Expected a CloudEvent as a JSON object');
  const { data, data_base64: encoded } = event;
  if (encoded !== undefined && encoded !== null) return readEvent(event, { encoded, of: '' }, name, bytes);
  // An event whose data is text was told to be text: that is what its sender's payload was.
  const payload =
    data === undefined ? null : Buffer.from(typeof data === 'string' ? data : JSON.stringify(data));
  return readEvent(event, { bytes: payload, of: '' }, name, bytes);
}

type Payload = { readonly of: string } & ({ readonly bytes: Buffer | null } | { readonly encoded: unknown });

/** One event: its attributes, its payload, and all that came of it. */
function readEvent(
  attributes: Readonly<Record<string, unknown>>,
  payload: Payload,
  name: string,
  whole = 'bytes' in payload ? payload.bytes : null,
): ReadRecord {
  for (const attribute of ['id', 'source', 'type', 'specversion']) {
    if (typeof attributes[attribute] === 'string' && attributes[attribute] !== '') continue;
    const detail = `Expected a text in ${payload.of}${attribute} of the CloudEvent, got nothing`;
    return unreadable(whole, name, detail);
  }
  const { id, source, key, partitionkey } = attributes;
  // Ours carry the record's key as their id; who passes on a Kafka record has it as an attribute of its own.
  const key_ = [id, key, partitionkey].find((text) => typeof text === 'string' && isOurs(text)) ?? id;
  const recordKey = String(key_);
  const position = `${String(source)} ${String(id)}`;
  return 'bytes' in payload
    ? readRecord({ key: recordKey, value: payload.bytes }, position)
    : readBase64Record({ key: recordKey, data: payload.encoded, field: 'data_base64' }, position);
}

function isOurs(key: string): boolean {
  return parseClickKey(key) !== null || isMarkKey(key);
}

function unreadable(value: Buffer | null, position: string, detail: string): ReadRecord {
  return { is: 'unreadable', key: null, value, position, from: null, reason: 'malformed', detail };
}

/** What a proxy has set a second time comes as one text: both of them, with a comma between. */
function once(value: string): string {
  const half = value.slice(0, (value.length - 2) / 2);
  return value === `${half}, ${half}` ? half : value;
}

/** Attributes in headers are percent-encoded; §3.1.3.2 of the binding. What is not stays as it is. */
function decode(value: string): string {
  try {
    return decodeURIComponent(value);
  } catch {
    return value;
  }
}
