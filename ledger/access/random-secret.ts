import { createHash, randomBytes } from 'node:crypto';

/** Random bytes of a secret. */
const SECRET_BYTES = 32;

/** The form of a secret, for a pattern. */
export const SECRET_PATTERN = '[A-Za-z0-9_-]{43}';
const SECRET = new RegExp(`^${SECRET_PATTERN}$`);

/** Creates a secret: 256 random bits as base64url, 43 characters. */
export function randomSecret(): string {
  return randomBytes(SECRET_BYTES).toString('base64url');
}

export function isSecret(text: string): boolean {
  return SECRET.test(text);
}

/**
 * Hashes a secret, so that the database does not have it. SHA-256 suffices, without salt and work factor: a secret has 256 random bits, so it
 * cannot be guessed from its hash.
 */
export function hashSecret(secret: string): Buffer {
  return createHash('sha256').update(secret).digest();
}
