import { TollwayError } from '../errors.ts';

/**
 * A key for links. One that `signs` makes links and verifies them; one that only `verifies` keeps what is
 * already printed working after a rotation.
 */
export type LinkKey = {
  readonly id: string;
  readonly state: 'signs' | 'verifies';
  readonly secret: Buffer;
};

/** Shortest secret accepted, in bytes: half of SHA-256's output, the least RFC 2104 does not discourage. */
const SECRET_BYTES_MIN = 16;

/**
 * Reads `LINK_KEYS`: `id:state:secret` separated by commas; the secret in base64url, at least 16 bytes.
 * The first key that `signs` is the one new links are made with. Throws `bad_link_keys`.
 */
export function parseLinkKeys(text: string): readonly LinkKey[] {
  const keys = text.split(',').map((part, index) => parseLinkKey(part.trim(), index));
  const twice = keys.find((key, index) => keys.findIndex((other) => other.id === key.id) !== index);
  if (twice) throw new TollwayError('bad_link_keys', `expected key ids that differ, got "${twice.id}" twice`);
  return keys;
}

function parseLinkKey(part: string, index: number): LinkKey {
  // What came is not repeated here: it may be a secret.
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

/** Writes keys in the form that `parseLinkKeys` reads. */
export function formatLinkKeys(keys: readonly LinkKey[]): string {
  return keys.map((key) => `${key.id}:${key.state}:${key.secret.toString('base64url')}`).join(',');
}
