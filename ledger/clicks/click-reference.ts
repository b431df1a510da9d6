import type { LinkKey } from '../../common/config/link-keys.ts';
import { TollwayError } from '../../common/errors.ts';
import { printable } from '../../common/text.ts';
import { DAY_MS } from '../../common/unix-time.ts';
import { canonicalUuid, isUuidV7 } from '../../common/uuid.ts';
import { clickIdOf } from '../../contract/click-list.ts';
import { findLink, tokenOf } from '../../contract/find-link.ts';
import { createVerifier, type LinkVerifier, readTokenUnverified } from '../../contract/link-token.ts';
import type { ClickReference } from './click-story.ts';

/** How a link is verified. */
export type ReferenceSettings = {
  /** `null` verifies no signature. */
  readonly keys: readonly LinkKey[] | null;
  /** The longest life of an impression link, in days: `LINK_LIFE_MAX_DAYS`. */
  readonly lifeMaxDays: number;
};

/**
 * Reads which click is meant: a click id, the nonce of an impression link, also as the 32 hex digits of a link, or an impression link. A
 * link must be signed by one of the keys, if there are any. Throws `bad_click_id`, `bad_link`.
 */
export function parseClickReference(text: string, settings: ReferenceSettings): ClickReference {
  const id = canonicalUuid(withDashes(text.trim()));
  if (isUuidV7(id)) return { is: 'id', id };
  if (!text.includes('.'))
    throw new TollwayError(
      'bad_click_id',
      `Expected a click id, a nonce (both are UUIDv7) or a link, got "${printable(text)}"`,
    );
  const { adId, publisher, nonce } = verifiedLink(text.trim(), settings);
  if (nonce !== null) return { is: 'link', nonce, adId, publisher };
  throw new TollwayError(
    'bad_link',
    `Expected a click id or an impression link, got an evergreen link of ad ${adId}, which can have any number of clicks. Pass the id of one click (npx tollway export lists them)`,
  );
}

function withDashes(text: string): string {
  return /^[0-9a-f]{32}$/i.test(text)
    ? `${text.slice(0, 8)}-${text.slice(8, 12)}-${text.slice(12, 16)}-${text.slice(16, 20)}-${text.slice(20)}`
    : text;
}

function verifiedLink(text: string, { keys, lifeMaxDays }: ReferenceSettings) {
  const verify: LinkVerifier = keys ? createVerifier(keys, lifeMaxDays * DAY_MS) : readTokenUnverified;
  // A token alone, without the address of the ad server, is a link too.
  const found = findLink(tokenOf(text) === null ? `/c/${text}` : text, verify);
  if (found) return found.link;
  const expected = keys ? 'a link that one of the keys in LINK_KEYS has signed' : 'a link';
  throw new TollwayError('bad_link', `Expected ${expected}, got "${printable(text)}"`);
}

/** Reads a click id, in upper case too. Throws `bad_click_id`. */
export function parseClickId(text: string): string {
  const clickId = clickIdOf(text);
  if (clickId === null)
    throw new TollwayError(
      'bad_click_id',
      `Expected a click id (a UUIDv7 as Tollway-Click shows it), got "${text}"`,
    );
  return clickId;
}
