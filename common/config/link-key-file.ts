import { randomBytes } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { errorCode, TollwayError } from '../errors.ts';
import type { Config } from './config.ts';
import { formatLinkKeys, type LinkKey, parseLinkKeys } from './link-keys.ts';

function keyPath(dataDir: string): string {
  return join(dataDir, 'link-keys');
}

/** The keys of `LINK_KEYS`, or those that `npm start` keeps in the data folder, or `null`. */
export function findLinkKeys(config: Config): readonly LinkKey[] | null {
  if (config.LINK_KEYS !== undefined) return config.LINK_KEYS;
  try {
    return parseLinkKeys(readFileSync(keyPath(config.DATA_DIR), 'utf8').trim());
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return null;
    throw new TollwayError('bad_link_keys', `${keyPath(config.DATA_DIR)}: ${(error as Error).message}`, {
      cause: error,
    });
  }
}

/** Like `findLinkKeys`; if there are none yet, creates a key that signs and stores it in the data folder. */
export function findOrMakeLinkKeys(config: Config): readonly LinkKey[] {
  const found = findLinkKeys(config);
  if (found) return found;
  const keys: LinkKey[] = [{ id: 'k1', state: 'signs', secret: randomBytes(32) }];
  writeFileSync(keyPath(config.DATA_DIR), `${formatLinkKeys(keys)}\n`, { mode: 0o600, flag: 'wx' });
  return keys;
}
