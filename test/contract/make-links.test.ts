import { describe, expect, it } from 'vitest';
import { createVerifier } from '../../contract/link-token.ts';
import { LINKS_MAX, type LinkRequest, type LinkSettings, makeLinks } from '../../contract/make-links.ts';
import { DAY_MS, k1 } from '../support/link-samples.ts';

const settings: LinkSettings = { keys: [k1], publicUrl: 'https://ads.example.com', lifeMaxDays: 90 };
const verify = createVerifier([k1], 90 * DAY_MS);
const tokenOf = (url: string) => url.slice('https://ads.example.com/c/'.length);

const make = (request: Partial<LinkRequest>, more: Partial<LinkSettings> = {}) =>
  makeLinks({ ...settings, ...more }, { adId: 1, count: 1, ...request });

describe('makeLinks', () => {
  it('makes as many links as one call may ask for, each with a nonce of its own', () => {
    const links = make({ count: LINKS_MAX, publisher: 'example-news' });
    const nonces = new Set(links.map((url) => verify(tokenOf(url))?.nonce));
    expect(nonces.size).toBe(LINKS_MAX);
    expect(verify(tokenOf(links[0] ?? ''))).toMatchObject({ publisher: 'example-news' });
  });

  it.each([
    [{}, {}, 30],
    [{}, { lifeMaxDays: 7 }, 7],
    [{ lifeMs: 12 * 3_600_000 }, {}, 0.5],
    [{ lifeMs: 90 * DAY_MS }, {}, 90],
  ])('%j with %j lives for %d days', (request, more, days) => {
    const before = Date.now();
    const [url = ''] = make(request, more);
    const expiresAt = verify(tokenOf(url))?.expiresAt ?? 0;
    // The expiry is in whole seconds.
    expect(expiresAt).toBeGreaterThan(before + days * DAY_MS - 1_000);
    expect(expiresAt).toBeLessThanOrEqual(Date.now() + days * DAY_MS);
  });

  it('makes evergreen links, which have neither a nonce nor an expiry', () => {
    const [url = ''] = make({ evergreen: true });
    expect(verify(tokenOf(url))).toMatchObject({ nonce: null, expiresAt: null, publisher: null });
  });

  it.each([
    [{ count: 0 }, {}, 'bad_count', 'Expected a whole number of 1–10000 links, got 0'],
    [{ count: LINKS_MAX + 1 }, {}, 'bad_count', 'Expected a whole number of 1–10000 links, got 10001'],
    [{ evergreen: true, lifeMs: DAY_MS }, {}, 'bad_options', 'an evergreen link never expires'],
    [{ lifeMs: 91 * DAY_MS }, {}, 'bad_duration', 'at most 90d (LINK_LIFE_MAX_DAYS), got 91d'],
    [{ publisher: 'a b' }, {}, 'bad_publisher', 'got "a b"'],
    [{}, { keys: null }, 'no_signing_key', 'LINK_KEYS: expected a key that signs, got none'],
    [{}, { keys: [{ ...k1, state: 'verifies' as const }] }, 'no_signing_key', 'expected a key that signs'],
  ])('refuses %j with %j: %s', (request, more, code, message) => {
    expect(() => make(request, more)).toThrow(
      expect.objectContaining({ code, message: expect.stringContaining(message) }),
    );
  });
});
