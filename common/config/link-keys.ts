import { TollwayError } from '../errors.ts';

/**
 * A key of the links. A key that `signs` creates links and verifies them. A key that `verifies` keeps existing links valid after a key
 * rotation.
 */
export type LinkKey = {
  readonly id: string;
  readonly state: 'signs' | 'verifies';
  readonly secret: Buffer;
};

/** Minimum secret, in bytes: half of SHA-256's output. RFC 2104 discourages shorter ones. */
const SECRET_BYTES_MIN = 16;

/**
 * Parses `LINK_KEYS`: `id:state:secret` separated by commas; the secret in base64url, at least 16 bytes.
 * The first key that `signs` signs new links. Throws `bad_link_keys`.
 */
export function parseLinkKeys(text: string): readonly LinkKey[] {
  const keys = text.split(',').map((part, index) => parseLinkKey(part.trim(), index));
  const duplicate = keys.find((key, index) => keys.findIndex((other) => other.id === key.id) !== index);
  if (duplicate)
    throw new TollwayError('bad_link_keys', `expected key ids that differ, got "${duplicate.id}" twice`);
  return keys;
}

function parseLinkKey(part: string, index: number): LinkKey {
  // Errors do not quote the text, because it can be a secret.
  const which = `key ${index + 1}`;
  const [id = '', state = '', secret = '', ...rest] = part.split(':');
  if (rest.length > 0 || secret === '') {
    throw new TollwayError('bad_link_keys', `${which}: expected id:state:secret`);
  }
  if (!/^[A-Za-z0-9_-]{1,16}$/.test(id)) {
    throw new TollwayError('bad_link_keys', `${which}: expected an id of 1–16 letters, digits, - or _`);
  }
  if (state !== 'signs' && state !== 'verifies') {
    throw new TollwayError('bad_link_keys', `${which} (${id}): expected the state signs or verifies`);
  }
  const bytes = Buffer.from(secret, 'base64url');
  if (bytes.toString('base64url') !== secret || bytes.length < SECRET_BYTES_MIN) {
    throw new TollwayError(
      'bad_link_keys',
      `${which} (${id}): expected a base64url secret of at least ${SECRET_BYTES_MIN} bytes`,
    );
  }
  return { id, state, secret: bytes };
}

/** Formats keys for `parseLinkKeys`. */
export function formatLinkKeys(keys: readonly LinkKey[]): string {
  return keys.map((key) => `${key.id}:${key.state}:${key.secret.toString('base64url')}`).join(',');
}
