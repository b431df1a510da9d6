import type { IncomingHttpHeaders } from 'node:http';
import { counted } from '../../common/counted.ts';
import { TollwayError } from '../../common/errors.ts';
import { parseJson, writeJson } from '../../common/json.ts';
import { withoutBom } from '../../common/text-file.ts';
import { isWatermarkKey, parseClickKey, type ReadRecord, readRecord } from '../../contract/click-event.ts';
import { badEvent, isObject } from './bad-event.ts';
import { readBase64Record } from './base64.ts';
import { jsonElements } from './json-elements.ts';

/** Most CloudEvents of one request: as many as Lambda hands over at once. */
export const EVENTS_MAX = 10_000;
/** Largest structured CloudEvent that is looked into, in bytes; one with a click takes 1–2 KB, with the longest click 12 KB. */
const EVENT_BYTES_MAX = 65_536;

/** The content types of structured CloudEvents that are read. */
const ONE = 'application/cloudevents+json';
const BATCH = 'application/cloudevents-batch+json';

/**
 * Reads the CloudEvents of an HTTP request: binary, structured or batched. Read here and not by the CloudEvents SDK, which
 * makes up an id for an event that has none, and takes the payload's bytes apart before anybody could keep them.
 * https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/http-protocol-binding.md
 *
 * Each event stands for itself: one that is damaged, deeply nested, larger than 64 KB or without its attributes becomes an `unreadable`
 * record with its bytes (the first 64 KB), and the others are read. Throws `bad_event` for a request that does not say of itself that
 * it carries CloudEvents, or carries them in another format than JSON; `too_many_events` for more than `EVENTS_MAX`.
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
    if (![ONE, BATCH].includes(type) || !/^(?:charset="?utf-8"?)?$/.test(charset ?? ''))
      throw badEvent(functionName, 'content-type', `${ONE} or ${BATCH}, in UTF-8`, headers['content-type']);
    return type === BATCH ? readBatch(functionName, body, bodyName) : [readStructured(body, bodyName)];
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
  return [cut(readEvent(attributes, { bytes: body, of: 'header ce-' }, bodyName))];
}

function readBatch(functionName: string, body: Buffer, bodyName: string): ReadRecord[] {
  const events = jsonElements(withoutBom(body), EVENTS_MAX);
  if (events === null) return [unreadable(body, bodyName, 'Expected a list of CloudEvents')];
  if (events.length > EVENTS_MAX) {
    const message = `${functionName}: expected at most ${EVENTS_MAX} events in a request, got more; send fewer at once`;
    throw new TollwayError('too_many_events', message);
  }
  // Such a list says nothing about any event: it is kept once, and not a dead letter for every number in it.
  if (events.length > 0 && !events.some((event) => event[0] === 0x7b))
    return [unreadable(body, bodyName, 'Expected a list of CloudEvents, got one without any')];
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
  if (encoded !== undefined && encoded !== null) return readEvent(event, { encoded, of: '' }, name, bytes);
  // An event whose data is text was told to be text: that is what its sender's payload was.
  const text = data === undefined || typeof data === 'string' ? data : writeJson(data);
  // Data that is nested too deeply to be written is kept as the event that came: it is too long for a click in any case.
  const payload = text === undefined ? null : text === null ? bytes : Buffer.from(text);
  return readEvent(event, { bytes: payload, of: '' }, name, bytes);
}

function tooLarge(bytes: Buffer, name: string): ReadRecord {
  const detail = `Expected a CloudEvent of at most ${EVENT_BYTES_MAX} bytes, got ${bytes.length}`;
  return unreadable(bytes, name, detail);
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
  return parseClickKey(key) !== null || isWatermarkKey(key);
}

function unreadable(value: Buffer | null, position: string, detail: string): ReadRecord {
  return cut({ is: 'unreadable', key: null, value, position, from: null, reason: 'malformed', detail });
}

/** Of what is too large to be a click only the beginning is kept: enough for a dead letter to show what it was. */
function cut(record: ReadRecord): ReadRecord {
  const value = record.value?.subarray(0, EVENT_BYTES_MAX) ?? null;
  return record.is === 'unreadable' ? { ...record, value } : record;
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
