import { createHmac } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { isUuidV7, uuidV7TimeMs } from '../../common/uuid.ts';
import { ID_MAX } from '../../contract/click-event.ts';
import {
  createSigner,
  createVerifier,
  evergreenLink,
  impressionLink,
  TOKEN_CHARACTERS_MAX,
} from '../../contract/link-token.ts';
import { PUBLISHER_MAX } from '../../contract/publisher.ts';
import { DAY_MS, k1, nonceAt, otherKey, vectors } from '../support/link-samples.ts';

const LIFE_MS_MAX = 90 * DAY_MS;
const verify = createVerifier([k1], LIFE_MS_MAX);
const sign = createSigner([k1]);

/** Signs any text with the secret. */
function signText(text: string): string {
  return `${text}.${createHmac('sha256', k1.secret).update(text).digest().subarray(0, 16).toString('base64url')}`;
}

describe('test vectors', () => {
  it('use the documented secret', () => {
    for (const vector of vectors) expect(Buffer.from(vector.secret, 'base64url')).toEqual(k1.secret);
  });

  it.each(vectors)('verify: $token', ({ token, adId, publisher, nonce, expiry }) => {
    const forever = createVerifier([k1], Number.MAX_SAFE_INTEGER / 2);
    expect(forever(token)).toEqual({
      adId,
      publisher,
      nonce,
      expiresAt: expiry === null ? null : expiry * 1_000,
    });
  });

  it.each(vectors)('are what the signer returns: $token', ({ token, adId, publisher, nonce, expiry }) => {
    const link =
      nonce === null || expiry === null
        ? evergreenLink(adId, publisher)
        : { adId, publisher, nonce, expiresAt: expiry * 1_000 };
    expect(sign(link)).toBe(token);
  });
});

describe('round trip', () => {
  const adIds = fc.integer({ min: 1, max: ID_MAX });
  const publishers = fc.option(fc.stringMatching(/^[A-Za-z0-9_-]{1,32}$/));

  it('returns every evergreen link', () => {
    fc.assert(
      fc.property(adIds, publishers, (adId, publisher) => {
        const link = { adId, publisher, nonce: null, expiresAt: null };
        expect(verify(sign(evergreenLink(adId, publisher)))).toEqual(link);
      }),
    );
  });

  it('returns every impression link, with its expiry in whole seconds', () => {
    const lives = fc.integer({ min: 0, max: LIFE_MS_MAX });
    const times = fc.integer({ min: 1_000, max: 4_000_000_000_000 });
    fc.assert(
      fc.property(adIds, lives, publishers, times, (adId, lifeMs, publisher, nowMs) => {
        const link = impressionLink(adId, lifeMs, publisher, nowMs);
        const expiresAt = Math.floor((nowMs + lifeMs) / 1_000) * 1_000;
        expect(verify(sign(link))).toEqual({ ...link, expiresAt });
      }),
    );
  });

  it('has at most TOKEN_CHARACTERS_MAX characters', () => {
    const longest = createSigner([otherKey('0123456789abcdef')])({
      adId: ID_MAX,
      publisher: 'p'.repeat(PUBLISHER_MAX),
      nonce: nonceAt(DAY_MS),
      expiresAt: 999_999_999_999_000,
    });
    expect(longest).toHaveLength(TOKEN_CHARACTERS_MAX);
  });
});

describe('an impression link', () => {
  it('gets a unique nonce with the time of its creation', () => {
    const nowMs = Date.now();
    const nonces = Array.from({ length: 1_000 }, () => impressionLink(1, DAY_MS, null, nowMs).nonce ?? '');
    expect(new Set(nonces).size).toBe(1_000);
    for (const nonce of nonces) {
      expect(isUuidV7(nonce)).toBe(true);
      expect(uuidV7TimeMs(nonce)).toBe(nowMs);
    }
  });

  it('expires at the latest LINK_LIFE_MAX_DAYS after the time in its nonce', () => {
    const madeAt = Date.UTC(2026, 0, 1);
    const link = { adId: 1, publisher: null, nonce: nonceAt(madeAt), expiresAt: madeAt + 400 * DAY_MS };
    expect(verify(sign(link))?.expiresAt).toBe(madeAt + 90 * DAY_MS);
    expect(verify(sign({ ...link, expiresAt: madeAt + DAY_MS }))?.expiresAt).toBe(madeAt + DAY_MS);
  });

  it.each([
    ['version 4', '019b76daa8004abc9def0123456789ab'],
    ['version 1', '019b76daa8001abc9def0123456789ab'],
    ['another variant', '019b76daa8007abc1def0123456789ab'],
    ['the nil UUID', '00000000000000000000000000000000'],
    ['dashes', '019b76da-a800-7abc-9def-0123456789ab'],
    ['capital letters', '019B76DAA8007ABC9DEF0123456789AB'],
    ['31 digits', '019b76daa8007abc9def0123456789a'],
    ['33 digits', '019b76daa8007abc9def0123456789abc'],
    ['nothing', ''],
  ])('is refused with a nonce that is not a UUIDv7, even with a valid tag: %s', (_, nonce) => {
    expect(verify(signText(`1.k1.42.${nonce}.1769817600`))).toBeNull();
  });
});

describe('a part with another spelling, even with a valid tag', () => {
  it.each([
    ['an ad id with a leading zero', '1.k1.042'],
    ['an ad id of zero', '1.k1.0'],
    ['a negative ad id', '1.k1.-1'],
    ['an ad id with a sign', '1.k1.+1'],
    ['an ad id with an exponent', '1.k1.1e3'],
    ['a hexadecimal ad id', '1.k1.0x10'],
    ['an ad id above the highest', `1.k1.${ID_MAX + 1}`],
    ['an ad id of ten thousand digits', `1.k1.${'9'.repeat(10_000)}`],
    ['no ad id', '1.k1.'],
    ['another version', '3.k1.42'],
    ['a publisher in version 1', '1.k1.42.example-news'],
    ['version 2 without a publisher', '2.k1.42'],
    ['version 2 without a publisher, with a nonce', '2.k1.42.019b76daa8007abc9def0123456789ab.1769817600'],
    ['an empty publisher', '2.k1.42.'],
    ['a publisher of 33 characters', `2.k1.42.${'p'.repeat(33)}`],
    ['a publisher with a dot', '2.k1.42.example.com'],
    ['a publisher with another character', '2.k1.42.exampl\u00e9'],
    ['a version with a leading zero', '01.k1.42'],
    ['no version', '.k1.42'],
    ['an expiry with a leading zero', '1.k1.42.019b76daa8007abc9def0123456789ab.01769817600'],
    ['an expiry of zero', '1.k1.42.019b76daa8007abc9def0123456789ab.0'],
    ['an expiry with a fraction', '1.k1.42.019b76daa8007abc9def0123456789ab.17698.17600'],
    ['a nonce without an expiry', '1.k1.42.019b76daa8007abc9def0123456789ab'],
    ['a part too many', '1.k1.42.019b76daa8007abc9def0123456789ab.1769817600.1'],
  ])('%s is refused', (_, text) => {
    expect(verify(signText(text))).toBeNull();
  });
});

describe('keys', () => {
  it('that only verify never sign', () => {
    expect(() => createSigner([otherKey('old', 'verifies')])).toThrow(
      expect.objectContaining({ code: 'no_signing_key' }),
    );
    expect(() => createSigner([])).toThrow(expect.objectContaining({ code: 'no_signing_key' }));
  });

  it('rotate: new links have the new key, old ones stay valid', () => {
    const before = createSigner([k1])(evergreenLink(7));
    const rotated = [{ ...k1, state: 'verifies' as const }, otherKey('k2')];
    const after = createSigner(rotated)(evergreenLink(7));
    expect(after.split('.')[1]).toBe('k2');
    const verifyRotated = createVerifier(rotated, LIFE_MS_MAX);
    expect(verifyRotated(before)).toEqual(evergreenLink(7));
    expect(verifyRotated(after)).toEqual(evergreenLink(7));
  });

  it('that were removed do not verify', () => {
    const token = sign(evergreenLink(7));
    expect(createVerifier([otherKey('k2')], LIFE_MS_MAX)(token)).toBeNull();
  });

  it('with the same id and another secret do not verify each other', () => {
    expect(createVerifier([otherKey('k1')], LIFE_MS_MAX)(sign(evergreenLink(7)))).toBeNull();
  });

  it('are found only by their whole id', () => {
    for (const id of ['', 'K1', 'k', 'k11', '__proto__', 'constructor', 'toString']) {
      expect(verify(signText(`1.${id}.42`))).toBeNull();
    }
  });
});

describe('a publisher', () => {
  it.each(['', 'p'.repeat(33), 'example.com', 'a b', 'caf\u00e9', 'a\n'])(
    'is not signed if it is %j',
    (publisher) => {
      expect(() => sign(evergreenLink(1, publisher))).toThrow(
        expect.objectContaining({ code: 'bad_publisher' }),
      );
    },
  );
});
