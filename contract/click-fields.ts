import type { SubIds } from './sub-ids.ts';

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
  /** The trace of the click, a W3C `traceparent` of version 00. Absent, like `null`, if there is none. A reader ignores any other value. */
  readonly traceparent?: string | null;
};
