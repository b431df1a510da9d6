import type { LinkKey } from '../../common/config/link-keys.ts';
import vectors from '../../contract/vectors/links.json' with { type: 'json' };

export const DAY_MS = 86_400_000;

/** One test vector of the README: a token that was not made by this code. */
export type LinkVector = (typeof vectors)[number];
export { vectors };

/** The key of the test vectors: its secret is the bytes 0…31. */
export const k1: LinkKey = {
  id: 'k1',
  state: 'signs',
  secret: Buffer.from(Array.from({ length: 32 }, (_, byte) => byte)),
};

/** A key with another secret. */
export function otherKey(id: string, state: LinkKey['state'] = 'signs'): LinkKey {
  return { id, state, secret: Buffer.alloc(32, id) };
}

/** A nonce of a given time, in canonical form. */
export function nonceAt(timeMs: number): string {
  const hex = timeMs.toString(16).padStart(12, '0');
  return `${hex.slice(0, 8)}-${hex.slice(8)}-7abc-9def-0123456789ab`;
}
