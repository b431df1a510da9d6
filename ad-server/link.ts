import { timingSafeEqual } from 'node:crypto';
import { TollwayError } from '../common/errors.ts';
import type { LinkKey } from '../common/link-keys.ts';
import { uuidV7, uuidV7TimeMs } from '../common/uuid.ts';
import { ID_MAX } from '../producer/click-event.ts';
import { createHmacSha256 } from './hmac-sha256.ts';

/**
 * A token is text, its parts separated by dots, so that any server can make one with any library:
 *
 *     impression  1.<key id>.<ad id>.<nonce>.<expiry>.<tag>
 *     evergreen   1.<key id>.<ad id>.<tag>
 *
 * `nonce` is a UUIDv7 as 32 hex digits, `expiry` Unix seconds, `tag` the first 16 bytes (128 bits) of
 * HMAC-SHA256 over everything before the last dot, in base64url without padding. Every part has one spelling.
 */
export type Link = ImpressionLink | EvergreenLink;
export type ImpressionLink = {
  readonly adId: number;
  /** UUIDv7. */
  readonly nonce: string;
  /** Unix ms at which it stops being paid for. */
  readonly expiresAt: number;
};
export type EvergreenLink = { readonly adId: number; readonly nonce: null; readonly expiresAt: null };

const VERSION = '1';
/** Length of a tag: 16 bytes in base64url without padding. */
export const TAG_CHARACTERS = 22;
/** Longest token: version, key id, ad id, nonce, expiry, tag and their dots. */
export const TOKEN_CHARACTERS_MAX = 1 + 1 + 16 + 1 + 10 + 1 + 32 + 1 + 12 + 1 + TAG_CHARACTERS;

const ID = /^[1-9]\d{0,9}$/;
/** A UUIDv7 without its dashes. */
const NONCE = /^[0-9a-f]{12}7[0-9a-f]{3}[89ab][0-9a-f]{15}$/;
const EXPIRY = /^[1-9]\d{0,11}$/;

export type LinkSigner = (link: Link) => string;

/** Verifies a token: the link it stands for, or `null` for anything that was not signed by one of our keys. */
export type LinkVerifier = (token: string) => Link | null;

/** Makes tokens with the first key that signs. Throws `no_signing_key`. */
export function createSigner(keys: readonly LinkKey[]): LinkSigner {
  const key = keys.find(({ state }) => state === 'signs');
  if (!key) throw new TollwayError('no_signing_key', 'LINK_KEYS: expected a key that signs, got none');
  const tagOf = createTagger(key);
  return ({ adId, nonce, expiresAt }) => {
    const body = [VERSION, key.id, adId];
    if (nonce !== null && expiresAt !== null)
      body.push(nonce.replaceAll('-', ''), Math.floor(expiresAt / 1_000));
    const signed = body.join('.');
    return `${signed}.${tagOf(signed)}`;
  };
}

/** An impression link that expires `lifeMs` from now. Its nonce carries the time it was made. */
export function impressionLink(adId: number, lifeMs: number, nowMs = Date.now()): ImpressionLink {
  return { adId, nonce: uuidV7(nowMs), expiresAt: nowMs + lifeMs };
}

/** A link for print, QR codes and newsletters: every click on it counts. */
export function evergreenLink(adId: number): EvergreenLink {
  return { adId, nonce: null, expiresAt: null };
}

/**
 * Verifies tokens with any of the keys. An impression link lives `lifeMaxMs` from the time its nonce carries at most,
 * whatever it says itself: the nonces that were spent are not kept for longer.
 */
export function createVerifier(keys: readonly LinkKey[], lifeMaxMs: number): LinkVerifier {
  const taggers = new Map(keys.map((key) => [key.id, createTagger(key)]));
  return (token) => {
    if (token.length > TOKEN_CHARACTERS_MAX) return null;
    const parts = token.split('.');
    const [version, keyId = '', adIdText = ''] = parts;
    const tagOf = taggers.get(keyId);
    const adId = Number(adIdText);
    if (version !== VERSION || tagOf === undefined || !ID.test(adIdText) || adId > ID_MAX) return null;
    const tag = parts.at(-1) ?? '';
    const signed = token.slice(0, token.length - tag.length - 1);
    if (!tagsEqual(tag, tagOf(signed))) return null;
    if (parts.length === 4) return evergreenLink(adId);
    const [, , , nonceText = '', expiryText = ''] = parts;
    if (parts.length !== 6 || !NONCE.test(nonceText) || !EXPIRY.test(expiryText)) return null;
    const nonce = withDashes(nonceText);
    return { adId, nonce, expiresAt: Math.min(Number(expiryText) * 1_000, uuidV7TimeMs(nonce) + lifeMaxMs) };
  };
}

/** The tag's 22nd character has two bits of the 16th byte; in the whole digest's base64url it has four of the 17th too. */
const LAST_CHARACTER = new Map(
  [...'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'].map((character, value) => [
    character,
    'AQgw'[value >> 4] ?? '',
  ]),
);

/** Makes tags with a key: the first 16 bytes in base64url, cut from the text of the whole digest. */
function createTagger({ secret }: LinkKey): (signed: string) => string {
  const hmac = createHmacSha256(secret, TOKEN_CHARACTERS_MAX);
  return (signed) => {
    const digest = hmac(signed);
    return digest.slice(0, TAG_CHARACTERS - 1) + LAST_CHARACTER.get(digest[TAG_CHARACTERS - 1] ?? '');
  };
}

const given = Buffer.alloc(TAG_CHARACTERS);
const expected = Buffer.alloc(TAG_CHARACTERS);

/** Constant in time for equal lengths; `timingSafeEqual` throws on others, and a length is no secret. */
function tagsEqual(givenTag: string, expectedTag: string): boolean {
  if (givenTag.length !== TAG_CHARACTERS) return false;
  // As UTF-8: a character outside ASCII takes other bytes than any of ours, and is cut off where it does not fit.
  given.fill(0);
  given.write(givenTag);
  expected.write(expectedTag);
  return timingSafeEqual(given, expected);
}

function withDashes(hex: string): string {
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
}
