import type { LinkKey } from '../common/config/link-keys.ts';
import { TollwayError } from '../common/errors.ts';
import { uuidV7, uuidV7TimeMs } from '../common/uuid.ts';
import { ID_MAX } from './click-event.ts';
import { createHmacSha256 } from './hmac-sha256.ts';
import { PUBLISHER_MAX, parsePublisher } from './publisher.ts';

/**
 * The content of a link. A token is its signed text, with parts separated by dots, so that any server can create one with any library:
 *
 *     impression  1.<key id>.<ad id>.<nonce>.<expiry>.<tag>
 *     evergreen   1.<key id>.<ad id>.<tag>
 *
 * A link of a publisher is of version 2, which always has one:
 *
 *     impression  2.<key id>.<ad id>.<publisher>.<nonce>.<expiry>.<tag>
 *     evergreen   2.<key id>.<ad id>.<publisher>.<tag>
 *
 * `nonce` is a UUIDv7 as 32 hex digits, `expiry` Unix seconds, `tag` the first 16 bytes (128 bits) of
 * HMAC-SHA256 of everything before the last dot, in base64url without padding. Every part has exactly one valid spelling.
 */
export type Link = ImpressionLink | EvergreenLink;
export type ImpressionLink = {
  readonly adId: number;
  /** The site or partner that shows the link, or `null`. */
  readonly publisher: string | null;
  /** UUIDv7. */
  readonly nonce: string;
  /** Time of expiry in Unix ms. Later clicks are not charged. */
  readonly expiresAt: number;
};
export type EvergreenLink = {
  readonly adId: number;
  readonly publisher: string | null;
  readonly nonce: null;
  readonly expiresAt: null;
};

/** Length of a tag: 16 bytes in base64url without padding. */
export const TAG_CHARACTERS = 22;
/** Longest token: version, key id, ad id, publisher, nonce, expiry, tag and their dots. */
export const TOKEN_CHARACTERS_MAX =
  1 + 1 + 16 + 1 + 10 + 1 + PUBLISHER_MAX + 1 + 32 + 1 + 12 + 1 + TAG_CHARACTERS;

/** The grammar of a token, in groups: key id, ad id, publisher (empty in version 1), nonce (a UUIDv7 without dashes), expiry. */
const TOKEN_1 =
  /^1\.([\w-]{1,16})\.([1-9]\d{0,9})()(?:\.([0-9a-f]{12}7[0-9a-f]{3}[89ab][0-9a-f]{15})\.([1-9]\d{0,11}))?\.[\w-]{22}$/;
const TOKEN_2 =
  /^2\.([\w-]{1,16})\.([1-9]\d{0,9})\.([\w-]{1,32})(?:\.([0-9a-f]{12}7[0-9a-f]{3}[89ab][0-9a-f]{15})\.([1-9]\d{0,11}))?\.[\w-]{22}$/;

/** Returns the token of a link. Throws `bad_publisher`. */
export type LinkSigner = (link: Link) => string;

/** Verifies a token. Returns its link, or `null` if it is malformed or not signed by one of the keys. */
export type LinkVerifier = (token: string) => Link | null;

/** Creates a signer that uses the first key with the state `signs`. Throws `no_signing_key`. */
export function createSigner(keys: readonly LinkKey[]): LinkSigner {
  const key = keys.find(({ state }) => state === 'signs');
  if (!key) throw new TollwayError('no_signing_key', 'LINK_KEYS: expected a key that signs, got none');
  const hmac = createHmacSha256(key.secret, TOKEN_CHARACTERS_MAX);
  return ({ adId, publisher, nonce, expiresAt }) => {
    const body = publisher === null ? ['1', key.id, adId] : ['2', key.id, adId, parsePublisher(publisher)];
    if (nonce !== null && expiresAt !== null)
      body.push(nonce.replaceAll('-', ''), Math.floor(expiresAt / 1_000));
    const signed = body.join('.');
    return `${signed}.${tagOf(hmac(signed))}`;
  };
}

/** Creates an impression link that expires `lifeMs` after `nowMs`. Its nonce contains `nowMs`. */
export function impressionLink(
  adId: number,
  lifeMs: number,
  publisher: string | null = null,
  nowMs = Date.now(),
): ImpressionLink {
  return { adId, publisher, nonce: uuidV7(nowMs), expiresAt: nowMs + lifeMs };
}

/** Creates an evergreen link, for print, QR codes and newsletters: each click on it is charged. */
export function evergreenLink(adId: number, publisher: string | null = null): EvergreenLink {
  return { adId, publisher, nonce: null, expiresAt: null };
}

/**
 * Creates a verifier that accepts all of the keys. An impression link expires at the latest `lifeMaxMs` after the time in its nonce, even if
 * its expiry is later, because spent nonces are not stored for longer.
 */
export function createVerifier(keys: readonly LinkKey[], lifeMaxMs: number): LinkVerifier {
  const hmacs = new Map(keys.map(({ id, secret }) => [id, createHmacSha256(secret, TOKEN_CHARACTERS_MAX)]));
  return (token) => {
    const parts = matchToken(token);
    if (parts === null) return null;
    const hmac = hmacs.get(parts[1] ?? '');
    if (hmac === undefined || !endsInTag(token, hmac(token.slice(0, -TAG_CHARACTERS - 1)))) return null;
    return linkOf(parts, lifeMaxMs);
  };
}

/**
 * Reads a token without verifying its tag, for tools that have no keys. Returns `null` if it is malformed. The link expires at the time in
 * the token.
 */
export function readTokenUnverified(token: string): Link | null {
  const parts = matchToken(token);
  return parts === null ? null : linkOf(parts, Number.POSITIVE_INFINITY);
}

function matchToken(token: string): RegExpExecArray | null {
  if (token.length > TOKEN_CHARACTERS_MAX) return null;
  return (token.startsWith('2') ? TOKEN_2 : TOKEN_1).exec(token);
}

/** The link of a token's parts, or `null` if no ad has such an id. */
function linkOf(parts: RegExpExecArray, lifeMaxMs: number): Link | null {
  const adId = Number(parts[2]);
  if (adId > ID_MAX) return null;
  const publisher = parts[3] || null;
  if (parts[4] === undefined) return evergreenLink(adId, publisher);
  const nonce = withDashes(parts[4]);
  const expiresAt = Math.min(Number(parts[5]) * 1_000, uuidV7TimeMs(nonce) + lifeMaxMs);
  return { adId, publisher, nonce, expiresAt };
}

/** Character 22 of a tag has the last two bits of byte 16. In the base64url of the whole digest, it also has four bits of byte 17. */
const LAST_CHARACTER = new Map(
  [...'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'].map((character, value) => [
    character,
    'AQgw'[value >> 4] ?? '',
  ]),
);

function lastCharacter(digest: string): string {
  return LAST_CHARACTER.get(digest[TAG_CHARACTERS - 1] ?? '') ?? '';
}

/** Returns the tag of a digest in base64url: its first 16 bytes. */
function tagOf(digest: string): string {
  return digest.slice(0, TAG_CHARACTERS - 1) + lastCharacter(digest);
}

/**
 * Whether a token, not shorter than a tag, ends with the tag of a digest. Takes constant time, so that timing does not reveal a partly
 * correct tag.
 */
function endsInTag(token: string, digest: string): boolean {
  let difference = token.charCodeAt(token.length - 1) ^ lastCharacter(digest).charCodeAt(0);
  const from = token.length - TAG_CHARACTERS;
  for (let at = 0; at < TAG_CHARACTERS - 1; at += 1) {
    difference |= token.charCodeAt(from + at) ^ digest.charCodeAt(at);
  }
  return difference === 0;
}

function withDashes(hex: string): string {
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
}
