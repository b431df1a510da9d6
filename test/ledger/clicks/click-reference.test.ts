import { describe, expect, it } from 'vitest';
import type { LinkKey } from '../../../common/config/link-keys.ts';
import { createSigner, evergreenLink, impressionLink } from '../../../contract/link-token.ts';
import { parseClickReference } from '../../../ledger/clicks/click-reference.ts';

const keys: LinkKey[] = [{ id: 'k1', state: 'signs', secret: Buffer.alloc(32, 1) }];
const sign = createSigner(keys);
const withKeys = { keys, lifeMaxDays: 366 };
const withoutKeys = { keys: null, lifeMaxDays: 366 };

const link = impressionLink(7, 86_400_000, 'site-1');
const token = sign(link);
const forged = `${token.slice(0, -22)}${'A'.repeat(22)}`;
const found = { is: 'link', nonce: link.nonce, adId: 7, publisher: 'site-1' };

describe('what click show takes', () => {
  it.each([
    ['a UUID', link.nonce],
    ['a UUID in upper case', link.nonce.toUpperCase()],
    ['the hex digits of a nonce in a link', link.nonce.replaceAll('-', '')],
    ['a UUID with spaces around it', ` ${link.nonce}\n`],
  ])('%s', (_, text) => {
    expect(parseClickReference(text, withoutKeys)).toEqual({ is: 'id', id: link.nonce });
  });

  it.each([
    ['a token', token],
    ['a URL', `https://ads.example.com/c/${token}?utm_source=mail`],
    ['a path', `/c/${token}`],
    ['a URL with characters after the token', `http://127.0.0.1:8080//c/${token}.`],
  ])('a link as %s', (_, text) => {
    expect(parseClickReference(text, withKeys)).toEqual(found);
    expect(parseClickReference(text, withoutKeys)).toEqual(found);
  });

  it('verifies the signature of a link if there are keys', () => {
    expect(() => parseClickReference(forged, withKeys)).toThrow(
      `Expected a link that one of the keys in LINK_KEYS has signed, got "${forged}"`,
    );
    expect(parseClickReference(forged, withoutKeys)).toEqual(found);
  });

  it.each([
    ['4711', 'Expected a click id, a nonce (both are UUIDv7) or a link, got "4711"'],
    ['01a208fb-f934-40de-beaa-9335acbb4502', 'Expected a click id, a nonce (both are UUIDv7) or a link'],
    ['', 'Expected a click id, a nonce (both are UUIDv7) or a link, got ""'],
    ['https://example.com/', 'Expected a link, got "https://example.com/"'],
    [sign(evergreenLink(7)), 'got an evergreen link of ad 7, which can have any number of clicks'],
  ])('not %s', (text, message) => {
    expect(() => parseClickReference(text, withoutKeys)).toThrow(message);
  });
});
