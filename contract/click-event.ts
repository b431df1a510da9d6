import { counted } from '../common/counted.ts';
import { createInterner } from '../common/intern.ts';
import { parseJson } from '../common/json.ts';
import { memoize } from '../common/memoize.ts';
import { canonicalUuid, isUuid, isUuidV7, uuidV7TimeMs } from '../common/uuid.ts';
import { isPublisher, PUBLISHER_MAX } from './publisher.ts';
import { areSubIds, SUB_ID_MAX, SUB_ID_NAMES, type SubIds } from './sub-ids.ts';

/** Why the ad server judged a click invalid. The handler adds one more reason, `repeat`. */
export const EDGE_INVALID_REASONS = [
  'bot',
  'not_navigation',
  'expired',
  'paused',
  'not_running',
  'double_click',
] as const;
export type EdgeInvalidReason = (typeof EDGE_INVALID_REASONS)[number];

/** Highest price of a click, in micros: 1 000 000 000 units of the currency. It is a safe integer in JSON. */
export const PRICE_MICROS_MAX = 1_000_000_000_000_000;
/** Highest id of an advertiser, campaign or ad: PostgreSQL's `integer`. */
export const ID_MAX = 2_147_483_647;
/** Longest user agent kept, in characters. */
export const USER_AGENT_MAX = 512;
/** Longest referrer host kept, in characters (RFC 1035 §2.3.4). */
export const REFERRER_HOST_MAX = 253;
/** Longest encoded click, in bytes. The ad server bounds every text in a click, so its clicks are never longer. */
export const CLICK_BYTES_MAX = 8_192;

/** The version of the click events that are written. Within a version, only optional fields are added. */
export const CLICK_VERSION = 1;

/** An accepted `GET` of a link. */
export type ClickEvent = {
  /** UUIDv7, created at the redirect. */
  readonly clickId: string;
  /** UUIDv7 of the impression link, or `null` for an evergreen link. */
  readonly nonce: string | null;
  readonly adId: number;
  readonly campaignId: number;
  readonly advertiserId: number;
  /** Price of the ad at the time of the click, 1…PRICE_MICROS_MAX. */
  readonly priceMicros: number;
  /** Time of the click in Unix ms, equal to the time in the click id. */
  readonly clickedAt: number;
  readonly invalid: EdgeInvalidReason | null;
  /** Whether the ad was marked as budget-exhausted in the ad server's catalog. */
  readonly budgetExhausted: boolean;
  /** Whether the visitor was sent to the fallback URL because the campaign was ahead of its plan. Such a click is not charged. */
  readonly held?: boolean;
  /** The visitor's network (/24 for IPv4, /48 for IPv6), never the address. */
  readonly visitorNetwork: string | null;
  readonly userAgent: string | null;
  readonly referrerHost: string | null;
  /** The publisher of the link. Absent, like `null`, for a link without one. */
  readonly publisher?: string | null;
  /** Values of the query parameters `sub1`…`sub5`. Absent, like `null`, if there are none. */
  readonly subIds?: SubIds | null;
};

/** A record in a broker: a key outside of the payload, and bytes. */
export type BrokerRecord = { readonly key: string | null; readonly value: Buffer | null };

/** Where a click was accepted: the spool, and the sequence in it, which counts from 1 without gaps. */
export type SpoolPosition = { readonly spoolId: string; readonly sequence: number };

/** Why the bytes of a record are not a click. */
export type UnreadableReason = 'malformed' | 'unknown_version';

/** A record as it was received. */
type Received = BrokerRecord & {
  /** The position in the broker. It is logged, and identifies records without a key of Tollway. */
  readonly position: string;
  /** The spool and sequence in the key, or `null`. */
  readonly from: SpoolPosition | null;
};

/** A parsed record that holds a click. */
export type ReadClick = Received & { readonly is: 'click'; readonly click: ClickEvent };
/** A parsed record that holds a watermark: the spool has accepted `accepted` clicks, and all of them were published. */
export type ReadWatermark = Received & {
  readonly is: 'watermark';
  readonly spoolId: string;
  readonly accepted: number;
};
/** A record that is neither a click nor a watermark. */
export type Unreadable = Received & {
  readonly is: 'unreadable';
  readonly reason: UnreadableReason;
  /** What was expected and what the record has. */
  readonly detail: string;
};
/** A parsed record. */
export type ReadRecord = ReadClick | ReadWatermark | Unreadable;

/** Fields with few different texts: parsed clicks share them. A batch is then smaller by a fifth, and the charge finds them in the CPU cache. */
const INTERNED = ['userAgent', 'referrerHost'] as const;
/** Most texts that are shared. */
const INTERNED_MAX = 8_000;
const internText = createInterner(INTERNED_MAX);

/** Most quoted user agents in each generation of the cache. Few user agents make most clicks. */
const QUOTED_MAX = 2_000;
const quoteAgent = memoize(QUOTED_MAX, (text) => JSON.stringify(text));

/**
 * Encodes a click as JSON, always with the same order of fields. It runs before every redirect: with a cache of quoted user agents it takes a
 * fifth less time than `JSON.stringify` of the click.
 */
export function encodeClick(click: ClickEvent): string {
  const { nonce, invalid, visitorNetwork, userAgent, referrerHost } = click;
  return (
    `{"v":${CLICK_VERSION},"clickId":"${click.clickId}","nonce":${nonce === null ? 'null' : `"${nonce}"`},` +
    `"adId":${click.adId},"campaignId":${click.campaignId},"advertiserId":${click.advertiserId},` +
    `"priceMicros":${click.priceMicros},"clickedAt":${click.clickedAt},` +
    `"invalid":${invalid === null ? 'null' : `"${invalid}"`},"budgetExhausted":${click.budgetExhausted},` +
    `"visitorNetwork":${visitorNetwork === null ? 'null' : JSON.stringify(visitorNetwork)},` +
    `"userAgent":${userAgent === null ? 'null' : quoteAgent(userAgent)},` +
    `"referrerHost":${referrerHost === null ? 'null' : JSON.stringify(referrerHost)}` +
    optionalFields(click)
  );
}

/** The optional fields that have a value, and the end of the object. */
function optionalFields({ held, publisher, subIds }: ClickEvent): string {
  if (!held && !publisher && !subIds) return '}';
  // A publisher has no characters that JSON escapes.
  return `${held ? ',"held":true' : ''}${publisher ? `,"publisher":"${publisher}"` : ''}${subIds ? `,"subIds":${JSON.stringify(subIds)}` : ''}}`;
}

/** Returns the key of a click's record: `<spool id>.<sequence>`. */
export function clickKey(spoolId: string, sequence: number): string {
  return `${spoolId}.${sequence}`;
}

const WATERMARK_SUFFIX = '.watermark';
/** Highest value of a watermark. A spool that accepts 30 000 clicks/s reaches it after a year. */
export const WATERMARK_MAX = 999_999_999_999;

/** Whether a key belongs to a watermark. */
export function isWatermarkKey(key: string | null): boolean {
  return key?.endsWith(WATERMARK_SUFFIX) ?? false;
}

/** Returns the watermark of a spool that has accepted `accepted` clicks, under the key `<spool id>.watermark`. */
export function watermarkRecord(spoolId: string, accepted: number): BrokerRecord {
  return {
    key: `${spoolId}${WATERMARK_SUFFIX}`,
    value: Buffer.from(`{"v":${CLICK_VERSION},"watermark":{"spoolId":"${spoolId}","accepted":${accepted}}}`),
  };
}

/** The spool id of the last parsed key. */
let latestSpoolId = '';

/** Parses the key of a click's record. Returns `null` for other keys. */
export function parseClickKey(key: string | null): SpoolPosition | null {
  if (key === null || key.length > 36 + 1 + 16 || key[36] !== '.') return null;
  const digits = key.slice(37);
  // Consecutive records are mostly of one spool: its id is checked once and shares one string.
  if (!key.startsWith(latestSpoolId) || latestSpoolId === '') {
    const spoolId = key.slice(0, 36);
    if (!isUuid(spoolId)) return null;
    latestSpoolId = spoolId;
  }
  if (!/^[1-9]\d{0,14}$/.test(digits)) return null;
  return { spoolId: latestSpoolId, sequence: Number(digits) };
}

/**
 * Parses a record. Never throws: a record that is neither a watermark nor a click of a known version is `unreadable`. It has the spool and
 * sequence of its key too, so that a damaged click is rejected under its sequence and does not count as missing.
 */
export function readRecord({ key, value }: BrokerRecord, position: string): ReadRecord {
  const received: Received = { key, value, position, from: parseClickKey(key) };
  const unreadable = (reason: UnreadableReason, detail: string): Unreadable => ({
    ...received,
    is: 'unreadable',
    reason,
    detail,
  });
  if (value === null) return unreadable('malformed', 'Expected a click event, got null');
  if (value.length > CLICK_BYTES_MAX) {
    return unreadable('malformed', `Expected at most ${CLICK_BYTES_MAX} bytes, got ${value.length}`);
  }
  let body: unknown;
  try {
    body = parseJson(value);
  } catch {
    return unreadable('malformed', `Expected JSON, got ${counted(value.length, 'byte')} of other data`);
  }
  if (!isObject(body)) return unreadable('malformed', 'Expected a JSON object');
  if (body.v !== CLICK_VERSION) {
    return typeof body.v === 'number'
      ? unreadable('unknown_version', `Expected version ${CLICK_VERSION}, got ${body.v}`)
      : unreadable('malformed', 'Expected a version number in "v"');
  }
  if (isObject(body.watermark)) {
    const watermark = parseWatermark(body.watermark);
    if (watermark === null) {
      return unreadable('malformed', `Expected a watermark of a spool with 0–${WATERMARK_MAX} clicks`);
    }
    // A wrong watermark makes clicks count as missing, so it is accepted only under the key that belongs to its spool.
    if (key !== `${watermark.spoolId}${WATERMARK_SUFFIX}`) {
      return unreadable(
        'malformed',
        `Expected the watermark under the key ${watermark.spoolId}${WATERMARK_SUFFIX}`,
      );
    }
    return { ...received, is: 'watermark', ...watermark };
  }
  let click = body;
  let problem = problemOf(click);
  if (problem !== null) {
    // Other producers can write ids in upper case. Tollway does not, so ids are lower-cased only if the first check fails.
    click = { ...body, clickId: canonicalUuid(body.clickId), nonce: canonicalUuid(body.nonce) };
    problem = problemOf(click);
  }
  if (problem !== null) return unreadable('malformed', problem);
  for (const field of INTERNED) {
    const text = click[field];
    if (typeof text === 'string' && text.length <= USER_AGENT_MAX) click[field] = internText(text);
  }
  // `problemOf` has checked every field.
  return { ...received, is: 'click', click: click as unknown as ClickEvent };
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
