import { createCipheriv, createDecipheriv, hkdfSync, randomBytes } from 'node:crypto';

const CIPHER = 'aes-256-gcm';
const KEY_BYTES = 32;
/** Length of the nonce that GCM is made for, in bytes: https://csrc.nist.gov/pubs/sp/800/38/d/final (8.2) */
const NONCE_BYTES = 12;
const TAG_BYTES = 16;

/**
 * Encrypts an answer that holds a secret, such as a new API key, before it is stored for repeated requests. The encryption key is derived from
 * `secret`, the text of the caller's API key or the token of its session, which is not in the database: a reader of the database cannot decrypt
 * the answer, and a repetition by the caller can.
 */
export function sealAnswer(text: string, secret: string): string {
  const nonce = randomBytes(NONCE_BYTES);
  const cipher = createCipheriv(CIPHER, deriveKey(secret), nonce);
  const sealed = [cipher.update(text, 'utf8'), cipher.final()];
  return Buffer.concat([nonce, cipher.getAuthTag(), ...sealed]).toString('base64url');
}

/** Decrypts an answer of {@link sealAnswer}. Throws an `Error` if it was changed or sealed with another secret. */
export function openAnswer(sealed: string, secret: string): string {
  const bytes = Buffer.from(sealed, 'base64url');
  const decipher = createDecipheriv(CIPHER, deriveKey(secret), bytes.subarray(0, NONCE_BYTES), {
    authTagLength: TAG_BYTES,
  });
  decipher.setAuthTag(bytes.subarray(NONCE_BYTES, NONCE_BYTES + TAG_BYTES));
  const text = [decipher.update(bytes.subarray(NONCE_BYTES + TAG_BYTES)), decipher.final()];
  return Buffer.concat(text).toString('utf8');
}

/** A key and a token have 256 random bits, so one round of HKDF suffices. */
function deriveKey(secret: string): Buffer {
  return Buffer.from(hkdfSync('sha256', secret, '', 'tollway stored answer', KEY_BYTES));
}
