import type { LinkKey } from '../common/config/link-keys.ts';
import { TollwayError } from '../common/errors.ts';
import { uuidV7, uuidV7TimeMs } from '../common/uuid.ts';
import { ID_MAX } from './click-event.ts';
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

/** All of the grammar in one pattern: key id, ad id, nonce (a UUIDv7 without its dashes), expiry, tag. */
const TOKEN =
  /^1\.([\w-]{1,16})\.([1-9]\d{0,9})(?:\.([0-9a-f]{12}7[0-9a-f]{3}[89ab][0-9a-f]{15})\.([1-9]\d{0,11}))?\.[\w-]{22}$/;

export type LinkSigner = (link: Link) => string;

/** Verifies a token: the link it stands for, or `null` for anything that was not signed by one of our keys. */
export type LinkVerifier = (token: string) => Link | null;

/** Makes tokens with the first key that signs. Throws `no_signing_key`. */
export function createSigner(keys: readonly LinkKey[]): LinkSigner {
  const key = keys.find(({ state }) => state === 'signs');
  if (!key) throw new TollwayError('no_signing_key', 'LINK_KEYS: expected a key that signs, got none');
  const hmac = createHmacSha256(key.secret, TOKEN_CHARACTERS_MAX);
  return ({ adId, nonce, expiresAt }) => {
    const body = [VERSION, key.id, adId];
    if (nonce !== null && expiresAt !== null)
      body.push(nonce.replaceAll('-', ''), Math.floor(expiresAt / 1_000));
    const signed = body.join('.');
    return `${signed}.${tagOf(hmac(signed))}`;
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
  const hmacs = new Map(keys.map(({ id, secret }) => [id, createHmacSha256(secret, TOKEN_CHARACTERS_MAX)]));
  return (token) => {
    const parts = token.length > TOKEN_CHARACTERS_MAX ? null : TOKEN.exec(token);
    if (parts === null) return null;
    const hmac = hmacs.get(parts[1] ?? '');
    if (hmac === undefined || !endsInTag(token, hmac(token.slice(0, -TAG_CHARACTERS - 1)))) return null;
    const adId = Number(parts[2]);
    if (adId > ID_MAX) return null;
    if (parts[3] === undefined) return evergreenLink(adId);
    const nonce = withDashes(parts[3]);
    return { adId, nonce, expiresAt: Math.min(Number(parts[4]) * 1_000, uuidV7TimeMs(nonce) + lifeMaxMs) };
  };
}

/** The tag's 22nd character has two bits of the 16th byte; in the whole digest's base64url it has four of the 17th too. */
const LAST_CHARACTER = new Map(
  [...'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'].map((character, value) => [
    character,
    'AQgw'[value >> 4] ?? '',
  ]),
);

function lastCharacter(digest: string): string {
  return LAST_CHARACTER.get(digest[TAG_CHARACTERS - 1] ?? '') ?? '';
}

/** The tag in a digest's base64url: its first 16 bytes. */
function tagOf(digest: string): string {
  return digest.slice(0, TAG_CHARACTERS - 1) + lastCharacter(digest);
}

/**
 * Whether a token, not shorter than a tag, ends in the tag of a digest. Looks at every character, whatever it finds: how long it takes
 * tells nobody how much of a tag was guessed.
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
