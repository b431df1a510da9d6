import type { LinkSigner } from '../../contract/link-token.ts';
import { evergreenLink, impressionLink } from '../../contract/link-token.ts';

/** What an arrival is, and what the ad server owes it. */
export const KINDS = {
  /** An impression link that was never used. */
  fresh: { status: 302 },
  /** An evergreen link, as in print. */
  evergreen: { status: 302 },
  /** An impression link that was clicked a moment ago. */
  repeat: { status: 302 },
  /** A program that says so. */
  robot: { status: 302 },
  /** A browser that fetches ahead: it is turned away, so that the real click comes. */
  prefetch: { status: 503 },
  /** A link whose tag is not ours. */
  forged: { status: 404 },
} as const;
export type Kind = keyof typeof KINDS;

/** Parts of all arrivals, 0–1; what is left is `fresh`. */
export type Shares = Readonly<Record<Exclude<Kind, 'fresh'>, number>> & {
  /** Part of all arrivals that come on a connection of their own. */
  readonly newConnections: number;
};

export type Arrival = {
  readonly kind: Kind;
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly onNewConnection: boolean;
};

/** Where people are sent once an advertiser's money is gone. */
export const FALLBACK_URL = 'https://example.com/load-test/fallback';
/** A link, and who clicks it: the place among `PEOPLE`. */
type Click = { readonly path: string; readonly person: number };

/** Links that may be clicked a second time: at any rate some within the second of a double click, and most after it. */
const REMEMBERED = 50_000;
const LINK_LIFE_MS = 86_400_000;
/**
 * People are told apart by address and browser, and all of these come from one address: with one browser, two clicks on an
 * evergreen link within a second would be one person's double click.
 */
const BROWSERS = [
  'Windows NT 10.0; Win64; x64',
  'Macintosh; Intel Mac OS X 10_15_7',
  'X11; Linux x86_64',
].flatMap((system) =>
  Array.from(
    { length: 200 },
    (_, build) =>
      `Mozilla/5.0 (${system}) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.${7_300 + build}.0 Safari/537.36`,
  ),
);
/** What a browser sends; without it the clicks would be a robot's. */
export const BROWSER_HEADERS = {
  'user-agent': BROWSERS[0] ?? '',
  accept: 'text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8',
  'accept-language': 'en-US,en;q=0.9',
  'accept-encoding': 'gzip, deflate, br, zstd',
} as const;
const ROBOT_HEADERS = {
  'user-agent': 'Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)',
};
const PEOPLE = BROWSERS.map((browser) => ({ ...BROWSER_HEADERS, 'user-agent': browser }));
const PREFETCHES = PEOPLE.map((headers) => ({ ...headers, 'sec-purpose': 'prefetch;prerender' }));

/**
 * Makes arrivals as an ad server meets them: some ads are clicked much more than others (Zipf: the n-th takes 1/n^skew of
 * what the first takes), and not everybody is a person with a new link. The same seed makes the same sequence of
 * kinds and ads. `favourite` is a part of all arrivals that go to the first ad besides.
 */
export function createTraffic(
  adIds: readonly number[],
  sign: LinkSigner,
  { shares, skew, seed, favourite = 0 }: { shares: Shares; skew: number; seed: number; favourite?: number },
): () => Arrival {
  const random = randomFrom(seed);
  const pickByRank = zipf(adIds, skew, random);
  const pickAd = () => (random() < favourite ? (adIds[0] ?? pickByRank()) : pickByRank());
  const pickPerson = () => Math.floor(random() * PEOPLE.length);
  const evergreens = new Map<number, string>();
  const clicked: Click[] = [];
  let turn = 0;

  const fresh = (): Click => {
    const click = { path: `/c/${sign(impressionLink(pickAd(), LINK_LIFE_MS))}`, person: pickPerson() };
    clicked[turn % REMEMBERED] = click;
    turn += 1;
    return click;
  };
  const evergreen = (): Click => {
    const adId = pickAd();
    const path = evergreens.get(adId) ?? `/c/${sign(evergreenLink(adId))}`;
    evergreens.set(adId, path);
    return { path, person: pickPerson() };
  };
  const clickOf = (kind: Kind): Click => {
    switch (kind) {
      case 'evergreen':
      case 'robot':
        return evergreen();
      case 'repeat':
        return clicked[Math.floor(random() * clicked.length)] ?? fresh();
      case 'forged': {
        const { path, person } = evergreen();
        return { path: forge(path), person };
      }
      case 'fresh':
      case 'prefetch':
        return fresh();
      default:
        return kind satisfies never;
    }
  };
  return () => {
    const kind = pickKind(shares, random());
    const { path, person } = clickOf(kind);
    const headers = kind === 'robot' ? ROBOT_HEADERS : (kind === 'prefetch' ? PREFETCHES : PEOPLE)[person];
    return {
      kind,
      path,
      headers: headers ?? BROWSER_HEADERS,
      onNewConnection: random() < shares.newConnections,
    };
  };
}

function pickKind(shares: Shares, at: number): Kind {
  let left = at;
  for (const kind of ['evergreen', 'repeat', 'robot', 'prefetch', 'forged'] as const) {
    left -= shares[kind];
    if (left < 0) return kind;
  }
  return 'fresh';
}

/** Another tag, of the same length. */
function forge(path: string): string {
  const first = path.at(-22) === 'A' ? 'B' : 'A';
  return path.slice(0, -22) + first + path.slice(-21);
}

/** Picks elements by their rank: https://en.wikipedia.org/wiki/Zipf%27s_law; a skew of 0 picks all alike. */
function zipf<T>(elements: readonly T[], skew: number, random: () => number): () => T {
  let total = 0;
  const upTo = elements.map((_, rank) => (total += 1 / (rank + 1) ** skew));
  return () => {
    const at = random() * total;
    let [low, high] = [0, upTo.length - 1];
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((upTo[middle] ?? 0) < at) low = middle + 1;
      else high = middle;
    }
    const element = elements[low];
    if (element === undefined) throw new Error('Expected something to pick from');
    return element;
  };
}

/** Numbers from 0 to 1, the same for the same seed (mulberry32): a run that can be had again. */
function randomFrom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}
