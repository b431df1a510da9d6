import { hash } from 'node:crypto';

/** Block and digest of SHA-256, in bytes (FIPS 180-4). */
const BLOCK_BYTES = 64;
const DIGEST_BYTES = 32;

/**
 * Creates a function that returns the HMAC-SHA256 (RFC 2104) of an ASCII text in base64url. The function throws on a text of more than
 * `charactersMax` characters. It uses two one-shot hashes instead of `createHmac`, which creates an object for each text: 0.6 µs instead
 * of 1.2 µs for each redirect.
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
