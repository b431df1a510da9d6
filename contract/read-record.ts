import { counted } from '../common/counted.ts';
import { createInterner } from '../common/intern.ts';
import { parseJson } from '../common/json.ts';
import { isTraceparent } from '../common/telemetry/traceparent.ts';
import { canonicalUuid, isUuid, isUuidV7, uuidV7TimeMs } from '../common/uuid.ts';
import {
  type BrokerRecord,
  isPublishTime,
  parseClickKey,
  type ReadRecord,
  type Received,
  type Unreadable,
  type UnreadableReason,
  WATERMARK_MAX,
  WATERMARK_SUFFIX,
} from './click-event.ts';
import {
  CLICK_BYTES_MAX,
  CLICK_VERSION,
  type ClickEvent,
  EDGE_INVALID_REASONS,
  type EdgeInvalidReason,
  ID_MAX,
  PRICE_MICROS_MAX,
  USER_AGENT_MAX,
} from './click-fields.ts';
import { decodeClick } from './decode-click.ts';
import { toDecodedClick } from './decoded-click.ts';
import { isPublisher, PUBLISHER_MAX } from './publisher.ts';
import { areSubIds, SUB_ID_MAX, SUB_ID_NAMES } from './sub-ids.ts';

/** Fields with few different texts: parsed clicks share them. A batch is then smaller by a fifth, and the charge finds them in the CPU cache. */
const INTERNED = ['userAgent', 'referrerHost'] as const;
/** Most texts that are shared. */
const INTERNED_MAX = 8_000;
const internText = createInterner(INTERNED_MAX);

/**
 * Parses a record. `publishedAt`: when it was published, in Unix ms; a value that is not a time is ignored. Never throws: a record that is
 * neither a watermark nor a click of a known version is `unreadable`. It has the spool and sequence of its key too, so that a damaged click is
 * rejected under its sequence and does not count as missing.
 */
export function readRecord(
  { key, value }: BrokerRecord,
  position: string,
  publishedAt = Number.NaN,
): ReadRecord {
  const from = parseClickKey(key);
  const received: Received = isPublishTime(publishedAt)
    ? { key, value, position, from, publishedAt: Math.round(publishedAt) }
    : { key, value, position, from };
  if (value === null) return malformed(received, 'Expected a click event, got null');
  if (value.length > CLICK_BYTES_MAX) {
    return malformed(received, `Expected at most ${CLICK_BYTES_MAX} bytes, got ${value.length}`);
  }
  const decoded = decodeClick(value);
  if (decoded !== null) return { ...received, is: 'click', click: decoded };
  return readJson(received, value);
}

/** Parses what is not in the form of `encodeClick`: watermarks, and clicks of other producers. */
function readJson(received: Received, value: Buffer): ReadRecord {
  let body: unknown;
  try {
    body = parseJson(value);
  } catch {
    return malformed(received, `Expected JSON, got ${counted(value.length, 'byte')} of other data`);
  }
  if (!isObject(body)) return malformed(received, 'Expected a JSON object');
  if (body.v !== CLICK_VERSION) {
    return typeof body.v === 'number'
      ? unreadable(received, 'unknown_version', `Expected version ${CLICK_VERSION}, got ${body.v}`)
      : malformed(received, 'Expected a version number in "v"');
  }
  return isObject(body.watermark) ? readWatermark(received, body.watermark) : readClick(received, body);
}

function readWatermark(received: Received, body: Record<string, unknown>): ReadRecord {
  const watermark = parseWatermark(body);
  if (watermark === null) {
    return malformed(received, `Expected a watermark of a spool with 0–${WATERMARK_MAX} clicks`);
  }
  // A wrong watermark makes clicks count as missing, so it is accepted only under the key that belongs to its spool.
  const key = `${watermark.spoolId}${WATERMARK_SUFFIX}`;
  if (received.key !== key) return malformed(received, `Expected the watermark under the key ${key}`);
  return { ...received, is: 'watermark', ...watermark };
}

function readClick(received: Received, body: Record<string, unknown>): ReadRecord {
  let click = body;
  let problem = problemOf(click);
  if (problem !== null) {
    // Other producers can write ids in upper case. Tollway does not, so ids are lower-cased only if the first check fails.
    click = { ...body, clickId: canonicalUuid(body.clickId), nonce: canonicalUuid(body.nonce) };
    problem = problemOf(click);
  }
  if (problem !== null) return malformed(received, problem);
  for (const field of INTERNED) {
    const text = click[field];
    if (typeof text === 'string' && text.length <= USER_AGENT_MAX) click[field] = internText(text);
  }
  // The trace is for operators only: no value of it makes a click unreadable.
  if (click.traceparent !== undefined && !isTraceparent(click.traceparent)) click.traceparent = null;
  // `problemOf` has checked every field.
  return { ...received, is: 'click', click: toDecodedClick(click as unknown as ClickEvent) };
}

function malformed(received: Received, detail: string): Unreadable {
  return unreadable(received, 'malformed', detail);
}

function unreadable(received: Received, reason: UnreadableReason, detail: string): Unreadable {
  return { ...received, is: 'unreadable', reason, detail };
}

function parseWatermark(watermark: Record<string, unknown>): { spoolId: string; accepted: number } | null {
  const { spoolId, accepted } = watermark;
  if (typeof spoolId !== 'string' || !isUuid(spoolId)) return null;
  if (!isWholeBetween(accepted, 0, WATERMARK_MAX)) return null;
  return { spoolId, accepted };
}

/** Returns the first error in a click event of `CLICK_VERSION`, or `null`. */
function problemOf(body: Record<string, unknown>): string | null {
  const { clickId, clickedAt } = body;
  if (typeof clickId !== 'string' || !isUuidV7(clickId)) return 'Expected a UUIDv7 in clickId';
  if (body.nonce !== null && !(typeof body.nonce === 'string' && isUuidV7(body.nonce))) {
    return 'Expected a UUIDv7 or null in nonce';
  }
  for (const field of ['adId', 'campaignId', 'advertiserId']) {
    if (!isWholeBetween(body[field], 1, ID_MAX)) return `Expected a whole number of 1–${ID_MAX} in ${field}`;
  }
  if (!isWholeBetween(body.priceMicros, 1, PRICE_MICROS_MAX)) {
    return `Expected a whole number of 1–${PRICE_MICROS_MAX} in priceMicros`;
  }
  if (clickedAt !== uuidV7TimeMs(clickId)) return 'Expected clickedAt to be the time in clickId';
  if (body.invalid !== null && !EDGE_INVALID_REASONS.includes(body.invalid as EdgeInvalidReason)) {
    return `Expected null or one of ${EDGE_INVALID_REASONS.join(', ')} in invalid`;
  }
  if (typeof body.budgetExhausted !== 'boolean') return 'Expected true or false in budgetExhausted';
  if (body.held !== undefined && typeof body.held !== 'boolean') return 'Expected true or false in held';
  for (const field of ['visitorNetwork', 'userAgent', 'referrerHost']) {
    if (body[field] !== null && typeof body[field] !== 'string') return `Expected a text or null in ${field}`;
  }
  return problemOfOptional(body.publisher, body.subIds);
}

/** Returns the first error in the optional fields, which can be absent or `null`, or `null`. */
function problemOfOptional(publisher: unknown, subIds: unknown): string | null {
  if ((publisher ?? null) !== null && !isPublisher(publisher)) {
    return `Expected 1–${PUBLISHER_MAX} letters, digits, - and _ in publisher`;
  }
  if ((subIds ?? null) !== null && !areSubIds(subIds)) {
    return `Expected an object with texts of 1–${SUB_ID_MAX} characters for ${SUB_ID_NAMES.join(', ')} in subIds`;
  }
  return null;
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function isWholeBetween(value: unknown, min: number, max: number): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= min && value <= max;
}
