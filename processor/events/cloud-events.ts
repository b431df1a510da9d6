import type { IncomingHttpHeaders } from 'node:http';
import { counted } from '../../common/counted.ts';
import { TollwayError } from '../../common/errors.ts';
import { parseJson, writeJson } from '../../common/json.ts';
import { withoutBom } from '../../common/text-file.ts';
import { isWatermarkKey, parseClickKey, type ReadRecord } from '../../contract/click-event.ts';
import { readRecord } from '../../contract/read-record.ts';
import { badEvent, isObject } from './bad-event.ts';
import { readBase64Record } from './base64.ts';
import { jsonElements } from './json-elements.ts';

/** Maximum number of CloudEvents in one request; the same as Lambda's largest batch. */
export const EVENTS_MAX = 10_000;
/** Largest structured CloudEvent that is parsed, in bytes. One with a click takes 1–2 KB, with the longest click 12 KB. */
const EVENT_BYTES_MAX = 65_536;

/** The supported content types of structured and batched CloudEvents. */
const SINGLE = 'application/cloudevents+json';
const BATCH = 'application/cloudevents-batch+json';

/**
 * Reads the CloudEvents of an HTTP request: binary, structured or batched. The CloudEvents SDK is not used, because it invents an id for
 * an event that has none and parses the payload, so that its original bytes cannot be stored.
 * https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/http-protocol-binding.md
 *
 * Each event is read independently: one that is damaged, deeply nested, larger than 64 KB or without its attributes becomes an
 * `unreadable` record with its first 64 KB. Throws `bad_event` for a request whose headers do not declare CloudEvents, or declare
 * a format other than JSON; `too_many_events` for more than `EVENTS_MAX`.
 */
export function readCloudEvents(
  functionName: string,
  headers: IncomingHttpHeaders,
  body: Buffer,
  bodyName: string,
): ReadRecord[] {
  const [mediaType = '', ...parameters] = (headers['content-type'] ?? '').toLowerCase().split(';');
  const type = mediaType.trim();
  if (type.startsWith('application/cloudevents')) {
    const charset = parameters
      .map((parameter) => parameter.trim())
      .find((text) => text.startsWith('charset='));
    if (![SINGLE, BATCH].includes(type) || !/^(?:charset="?utf-8"?)?$/.test(charset ?? ''))
      throw badEvent(
        functionName,
        'content-type',
        `${SINGLE} or ${BATCH}, in UTF-8`,
        headers['content-type'],
      );
    return type === BATCH ? readBatch(functionName, body, bodyName) : [readStructured(body, bodyName)];
  }
  if (headers['ce-specversion'] === undefined) {
    const expected = 'the header of a CloudEvent, or the content type application/cloudevents+json';
    throw badEvent(functionName, 'ce-specversion', expected, headers['ce-specversion']);
  }
  const attributes = Object.fromEntries(
    Object.entries(headers)
      .filter(([name]) => name.startsWith('ce-'))
      .map(([name, value]) => [name.slice(3), decode(withoutRepeat(String(value)))]),
  );
  return [truncate(readEvent(attributes, { bytes: body, prefix: 'header ce-' }, bodyName))];
}

function readBatch(functionName: string, body: Buffer, bodyName: string): ReadRecord[] {
  const events = jsonElements(withoutBom(body), EVENTS_MAX);
  if (events === null) return [unreadable(body, bodyName, 'Expected a list of CloudEvents')];
  if (events.length > EVENTS_MAX) {
    const message = `${functionName}: expected at most ${EVENTS_MAX} events in a request, got more; send fewer`;
    throw new TollwayError('too_many_events', message);
  }
  // A list without any object becomes one dead letter, not one for each of its elements.
  if (events.length > 0 && !events.some((event) => event[0] === 0x7b))
    return [unreadable(body, bodyName, 'Expected a list of CloudEvents, got a list without any')];
  return events.map((event, index) => readStructured(event, `${bodyName} event ${index}`));
}

function readStructured(bytes: Buffer, name: string): ReadRecord {
  if (bytes.length > EVENT_BYTES_MAX) return tooLarge(bytes, name);
  let event: unknown;
  try {
    event = parseJson(bytes);
  } catch {
    return unreadable(bytes, name, `Expected JSON, got ${counted(bytes.length, 'byte')} of other data`);
  }
  if (!isObject(event)) return unreadable(bytes, name, 'Expected a CloudEvent as a JSON object');
  const { data, data_base64: encoded } = event;
  if (encoded !== undefined && encoded !== null)
    return readEvent(event, { encoded, prefix: '' }, name, bytes);
  // Data that is a string is the sender's payload itself; other data is the payload parsed from JSON.
  const text = data === undefined || typeof data === 'string' ? data : writeJson(data);
  // For data that is nested too deeply to be written, the whole event is the payload. It is not a click in any case.
  const payload = text === undefined ? null : text === null ? bytes : Buffer.from(text);
  return readEvent(event, { bytes: payload, prefix: '' }, name, bytes);
}

function tooLarge(bytes: Buffer, name: string): ReadRecord {
  const detail = `Expected a CloudEvent of at most ${EVENT_BYTES_MAX} bytes, got ${bytes.length}`;
  return unreadable(bytes, name, detail);
}

/** A payload as bytes or base64. `prefix` is written before the names of attributes in errors. */
type Payload = { readonly prefix: string } & (
  | { readonly bytes: Buffer | null }
  | { readonly encoded: unknown }
);

/** Reads one event. `original` is what a dead letter of the event keeps. */
function readEvent(
  attributes: Readonly<Record<string, unknown>>,
  payload: Payload,
  name: string,
  original = 'bytes' in payload ? payload.bytes : null,
): ReadRecord {
  for (const attribute of ['id', 'source', 'type', 'specversion']) {
    if (typeof attributes[attribute] === 'string' && attributes[attribute] !== '') continue;
    const detail = `Expected a text in ${payload.prefix}${attribute} of the CloudEvent, got nothing`;
    return unreadable(original, name, detail);
  }
  const { id, source, key, partitionkey } = attributes;
  // Tollway's events carry the record key as their id. Knative's Kafka source carries the key of a Kafka record in an attribute.
  const candidates = [id, key, partitionkey];
  const recordKey = String(candidates.find((text) => typeof text === 'string' && isRecordKey(text)) ?? id);
  const position = `${String(source)} ${String(id)}`;
  return 'bytes' in payload
    ? readRecord({ key: recordKey, value: payload.bytes }, position)
    : readBase64Record({ key: recordKey, data: payload.encoded, field: 'data_base64' }, position);
}

function isRecordKey(key: string): boolean {
  return parseClickKey(key) !== null || isWatermarkKey(key);
}

function unreadable(value: Buffer | null, position: string, detail: string): ReadRecord {
  return truncate({ is: 'unreadable', key: null, value, position, from: null, reason: 'malformed', detail });
}

/** Keeps the first 64 KB of an unreadable record: enough for a dead letter to show what it was. */
function truncate(record: ReadRecord): ReadRecord {
  const value = record.value?.subarray(0, EVENT_BYTES_MAX) ?? null;
  return record.is === 'unreadable' ? { ...record, value } : record;
}

/** A header that a proxy has added a second time arrives as both values, joined with a comma. Returns it once. */
function withoutRepeat(value: string): string {
  const half = value.slice(0, (value.length - 2) / 2);
  return value === `${half}, ${half}` ? half : value;
}

/** Attributes in headers are percent-encoded; §3.1.3.2 of the binding. Any other text is returned unchanged. */
function decode(value: string): string {
  try {
    return decodeURIComponent(value);
  } catch {
    return value;
  }
}
