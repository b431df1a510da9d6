import { findLink, tokenOf } from '../ad-server/links/find-link.ts';
import type { Config } from '../common/config/config.ts';
import { TollwayError } from '../common/errors.ts';
import { printable } from '../common/text.ts';
import { canonicalUuid, isUuidV7 } from '../common/uuid.ts';
import { createVerifier, type LinkVerifier, readTokenUnverified } from '../contract/link-token.ts';
import type { ClickReference } from '../ledger/click-story.ts';
import { DAY_MS } from '../ledger/partitions.ts';
import { findLinkKeys } from './link-key-file.ts';

/**
 * Reads which click is meant: a click id, the nonce of an impression link, also as the 32 hex digits of a link, or an impression link. A
 * link must be signed by one of the keys, if there are any. Throws `bad_click_id`, `bad_link`.
 */
export function parseClickReference(text: string, config: Config): ClickReference {
  const id = canonicalUuid(withDashes(text.trim()));
  if (isUuidV7(id)) return { is: 'id', id };
  if (!text.includes('.'))
    throw new TollwayError(
      'bad_click_id',
      `Expected a click id, a nonce (both are UUIDv7) or a link, got "${printable(text)}"`,
    );
  const { adId, publisher, nonce } = verifiedLink(text.trim(), config);
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

function verifiedLink(text: string, config: Config) {
  const keys = findLinkKeys(config);
  const verify: LinkVerifier = keys
    ? createVerifier(keys, config.LINK_LIFE_MAX_DAYS * DAY_MS)
    : readTokenUnverified;
  // A token alone, without the address of the ad server, is a link too.
  const found = findLink(tokenOf(text) === null ? `/c/${text}` : text, verify);
  if (found) return found.link;
  const expected = keys ? 'a link that one of the keys in LINK_KEYS has signed' : 'a link';
  throw new TollwayError('bad_link', `Expected ${expected}, got "${printable(text)}"`);
}
