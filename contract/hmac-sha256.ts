import { hash } from 'node:crypto';

/** SHA-256's block and digest, in bytes (FIPS 180-4). */
const BLOCK_BYTES = 64;
const DIGEST_BYTES = 32;

/**
 * HMAC-SHA256 (RFC 2104) with one secret, of ASCII texts of at most `charactersMax`: the digest in base64url. Out of two
 * one-shot hashes, because `createHmac` makes an object for every text: on the redirect's path 0.6 µs against 1.2 µs.
 * Throws on a longer text.
 */
export function createHmacSha256(secret: Buffer, charactersMax: number): (text: string) => string {
  const key = secret.length > BLOCK_BYTES ? hash('sha256', secret, 'buffer') : secret;
  const inner = Buffer.alloc(BLOCK_BYTES + charactersMax);
  const outer = Buffer.alloc(BLOCK_BYTES + DIGEST_BYTES);
  for (let at = 0; at < BLOCK_BYTES; at += 1) {
    const byte = key[at] ?? 0;
    inner[at] = byte ^ 0x36;
    outer[at] = byte ^ 0x5c;
  }
  return (text) => {
    if (text.length > charactersMax) {
      throw new Error(`Expected a text of at most ${charactersMax} characters, got ${text.length}`);
    }
    const end = BLOCK_BYTES + inner.write(text, BLOCK_BYTES, 'latin1');
    outer.write(hash('sha256', inner.subarray(0, end), 'binary'), BLOCK_BYTES, 'latin1');
    return hash('sha256', outer, 'base64url');
  };
}
