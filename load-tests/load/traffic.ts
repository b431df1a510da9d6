import type { LinkSigner } from '../../contract/link-token.ts';
import { evergreenLink, impressionLink } from '../../contract/link-token.ts';

/** The kinds of arrivals, with the status that the ad server must answer. */
export const KINDS = {
  /** An impression link that was never used. */
  fresh: { status: 302 },
  /** An evergreen link, as in print. */
  evergreen: { status: 302 },
  /** An impression link that was clicked before. */
  repeat: { status: 302 },
  /** A request with the user agent of a bot. */
  robot: { status: 302 },
  /** A prefetch of a browser. It is refused, so that a later click on the link is requested again. */
  prefetch: { status: 503 },
  /** A link with a wrong tag. */
  forged: { status: 404 },
} as const;
export type Kind = keyof typeof KINDS;

/** Shares of all arrivals by kind, 0–1; the remainder is `fresh`. */
export type Shares = Readonly<Record<Exclude<Kind, 'fresh'>, number>> & {
  /** Share of all arrivals that open a new connection. */
  readonly newConnections: number;
};

export type Arrival = {
  readonly kind: Kind;
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly onNewConnection: boolean;
};

/** The redirect target once an advertiser's budget is exhausted. */
export const FALLBACK_URL = 'https://example.com/load-test/fallback';
/** The path of a link, and the index in `VISITORS` of the visitor who clicks it. */
type Click = { readonly path: string; readonly visitor: number };

/** Recent links that repeats are drawn from. Some repeats fall within the double-click window (1 s), most after it. */
const RECENT_LINKS_MAX = 50_000;
const LINK_LIFE_MS = 86_400_000;
/**
 * The ad server identifies a visitor by address and user agent, and all arrivals have the same address. Without different user agents, two
 * clicks on an evergreen link within a second would count as a double click.
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
/** The headers of a browser. Without them the clicks would count as a bot's. */
export const BROWSER_HEADERS = {
  'user-agent': BROWSERS[0] ?? '',
  accept: 'text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8',
  'accept-language': 'en-US,en;q=0.9',
  'accept-encoding': 'gzip, deflate, br, zstd',
} as const;
const ROBOT_HEADERS = {
  'user-agent': 'Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)',
};
const VISITORS = BROWSERS.map((browser) => ({ ...BROWSER_HEADERS, 'user-agent': browser }));
const PREFETCHES = VISITORS.map((headers) => ({ ...headers, 'sec-purpose': 'prefetch;prerender' }));

/**
 * Generates arrivals with a realistic mix: clicks are distributed over ads by Zipf's law (the n-th ad gets 1/n^skew of the clicks of the
 * first), and the shares set the kinds. The same seed gives the same sequence of kinds and ads. `topAdShare` (0–1) is the share of all
 * arrivals that go to the first ad in addition.
 */
export function createTraffic(
  adIds: readonly number[],
  sign: LinkSigner,
  { shares, skew, seed, topAdShare = 0 }: { shares: Shares; skew: number; seed: number; topAdShare?: number },
): () => Arrival {
  const random = randomFrom(seed);
  const pickByRank = zipf(adIds, skew, random);
  const pickAd = () => (random() < topAdShare ? (adIds[0] ?? pickByRank()) : pickByRank());
  const pickVisitor = () => Math.floor(random() * VISITORS.length);
  const evergreens = new Map<number, string>();
  const recentClicks: Click[] = [];
  let freshCount = 0;

  const fresh = (): Click => {
    const click = { path: `/c/${sign(impressionLink(pickAd(), LINK_LIFE_MS))}`, visitor: pickVisitor() };
    recentClicks[freshCount % RECENT_LINKS_MAX] = click;
    freshCount += 1;
    return click;
  };
  const evergreen = (): Click => {
    const adId = pickAd();
    const path = evergreens.get(adId) ?? `/c/${sign(evergreenLink(adId))}`;
    evergreens.set(adId, path);
    return { path, visitor: pickVisitor() };
  };
  const clickOf = (kind: Kind): Click => {
    switch (kind) {
      case 'evergreen':
      case 'robot':
        return evergreen();
      case 'repeat':
        return recentClicks[Math.floor(random() * recentClicks.length)] ?? fresh();
      case 'forged': {
        const { path, visitor } = evergreen();
        return { path: forgeTag(path), visitor };
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
    const { path, visitor } = clickOf(kind);
    const headers = kind === 'robot' ? ROBOT_HEADERS : (kind === 'prefetch' ? PREFETCHES : VISITORS)[visitor];
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

/** The path with a different tag of the same length. */
function forgeTag(path: string): string {
  const first = path.at(-22) === 'A' ? 'B' : 'A';
  return path.slice(0, -22) + first + path.slice(-21);
}

/** Picks elements by rank with Zipf's law (https://en.wikipedia.org/wiki/Zipf%27s_law); a skew of 0 is uniform. */
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
    if (element === undefined) throw new Error('Expected at least one element, got none');
    return element;
  };
}

/** Pseudorandom numbers from 0 to 1 (mulberry32). The same seed gives the same sequence, so runs can be repeated. */
function randomFrom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}
