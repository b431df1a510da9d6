import { createHmac } from 'node:crypto';
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { createHmacSha256 } from '../../contract/hmac-sha256.ts';

it('createHmacSha256 returns the same as node:crypto', () => {
  const secrets = fc.uint8Array({ minLength: 1, maxLength: 200 });
  const texts = fc.string({ unit: 'binary-ascii', maxLength: 100 });
  fc.assert(
    fc.property(secrets, texts, texts, (bytes, first, second) => {
      const secret = Buffer.from(bytes);
      const hmac = createHmacSha256(secret, 100);
      // Two texts in a row: a longer text must not affect a shorter one after it.
      for (const text of [first, second]) {
        expect(hmac(text)).toBe(createHmac('sha256', secret).update(text).digest('base64url'));
      }
    }),
  );
});

it('createHmacSha256 throws on a text that is too long', () => {
  const hmac = createHmacSha256(Buffer.alloc(32), 10);
  expect(() => hmac('12345678901')).toThrow('Expected a text of at most 10 characters, got 11');
});
