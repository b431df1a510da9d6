import type { LinkKey } from '../common/config/link-keys.ts';
import { TollwayError } from '../common/errors.ts';
import { DAY_MS } from '../common/unix-time.ts';
import { createSigner, evergreenLink, impressionLink } from './link-token.ts';

/** Most links of one call of `makeLinks`. */
export const LINKS_MAX = 10_000;
/** Life of an impression link unless the caller chooses one, in days. */
export const LIFE_DAYS = 30;

/** What links are made with: settings of the installation. */
export type LinkSettings = {
  /** The first key that signs is used; `null` if there are none. */
  readonly keys: readonly LinkKey[] | null;
  /** Beginning of the links, such as `https://ads.example.com`. */
  readonly publicUrl: string;
  /** The longest life of an impression link, in days: `LINK_LIFE_MAX_DAYS`. */
  readonly lifeMaxDays: number;
};

export type LinkRequest = {
  readonly adId: number;
  /** 1–`LINKS_MAX`. */
  readonly count: number;
  /** Evergreen links, which never expire, instead of impression links. */
  readonly evergreen?: boolean;
  /** Life of impression links, in ms. Default: 30 days, or the longest life if that is shorter. */
  readonly lifeMs?: number;
  /** The site or partner that shows the links. */
  readonly publisher?: string | null;
};

/**
 * Returns new signed links to an ad, which has to exist, as URLs. Throws `bad_count`, `bad_options` (a life of evergreen links),
 * `bad_duration` (longer than the longest life), `no_signing_key`, `bad_publisher`.
 */
export function makeLinks(
  { keys, publicUrl, lifeMaxDays }: LinkSettings,
  { adId, count, evergreen = false, lifeMs, publisher = null }: LinkRequest,
): string[] {
  assertCount(count);
  const life = lifeOf(evergreen, lifeMs, lifeMaxDays);
  const sign = createSigner(keys ?? []);
  return Array.from({ length: count }, () => {
    const link = evergreen ? evergreenLink(adId, publisher) : impressionLink(adId, life, publisher);
    return `${publicUrl}/c/${sign(link)}`;
  });
}

function assertCount(count: number): void {
  if (Number.isInteger(count) && count >= 1 && count <= LINKS_MAX) return;
  throw new TollwayError('bad_count', `Expected a whole number of 1–${LINKS_MAX} links, got ${count}`);
}

function lifeOf(evergreen: boolean, lifeMs: number | undefined, lifeMaxDays: number): number {
  if (evergreen && lifeMs !== undefined)
    throw new TollwayError(
      'bad_options',
      'Expected evergreen links or a life, got both: an evergreen link never expires',
    );
  const life = lifeMs ?? Math.min(LIFE_DAYS, lifeMaxDays) * DAY_MS;
  if (life <= lifeMaxDays * DAY_MS) return life;
  throw new TollwayError(
    'bad_duration',
    `Expected a life of at most ${lifeMaxDays}d (LINK_LIFE_MAX_DAYS), got ${life / DAY_MS}d`,
  );
}
