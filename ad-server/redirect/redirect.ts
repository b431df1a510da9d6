import type { IncomingHttpHeaders } from 'node:http';
import type { Metrics } from '../../common/telemetry/metrics.ts';
import { uuidV7 } from '../../common/uuid.ts';
import {
  type ClickEvent,
  type EdgeInvalidReason,
  encodeClick,
  USER_AGENT_MAX,
} from '../../contract/click-event.ts';
import type { Link, LinkVerifier } from '../../contract/link-token.ts';
import type { CatalogAd } from '../../ledger/catalog-ads.ts';
import { referrerHost, truncateAddress, type VisitorAddress } from '../http/visitor.ts';
import type { DoubleClicks } from './double-clicks.ts';
import { type Agent, type AgentJudge, isPrefetch, isSubresource } from './invalid-traffic.ts';

/** A request on the public port, as far as a redirect looks at it. */
export type ClickRequest = {
  readonly method: string;
  /** Path and query. */
  readonly url: string;
  readonly headers: IncomingHttpHeaders;
  /** Address of the peer. */
  readonly peer: string | undefined;
};

/** What the public port answers. `clickId` is `null` for an answer that recorded no click. */
export type Answer =
  | { readonly is: 'redirect'; readonly location: string; readonly clickId: string | null }
  | { readonly is: 'not_found' | 'unknown_ad' | 'refused' | 'prefetch' | 'wrong_method' };

export type RedirectDependencies = {
  readonly verify: LinkVerifier;
  readonly findAd: (adId: number) => CatalogAd | undefined;
  readonly visitorAddress: VisitorAddress;
  readonly judgeAgent: AgentJudge['judge'];
  readonly doubleClicks: DoubleClicks;
  /**
   * The clock of the double-click window, in ms. `performance.now` where the process runs all the time: setting the machine's clock does
   * not move it. `Date.now` where the platform may freeze the process, which stops that clock.
   */
  readonly elapsedMs: () => number;
  /** Makes a click durable and tells its sequence, or `null` where it could not be recorded. */
  readonly record: (
    encodedClick: string,
    recorded: (sequence: number | null) => void,
    clickId: string,
  ) => void;
  readonly whenFull: 'redirect' | 'refuse';
  readonly metrics: Metrics;
};

const PATH = '/c/';
/** The same as some people and programs join it to a host. */
const DOUBLED_SLASHES = /^\/+c\/+/;

/**
 * The redirect: decides, has the click recorded, and only then answers. It waits for nothing but `record`.
 */
export function createRedirect(dependencies: RedirectDependencies) {
  const { verify, findAd, judgeAgent, doubleClicks, elapsedMs, record, whenFull, metrics } = dependencies;

  return (request: ClickRequest, answer: (answer: Answer) => void): void => {
    const { method, url, headers } = request;
    if (method !== 'GET' && method !== 'HEAD') return answer({ is: 'wrong_method' });
    const found = findLink(url, verify);
    if (found === null) return answer({ is: 'not_found' });
    const { token, link } = found;
    const ad = findAd(link.adId);
    if (ad === undefined) {
      metrics.unknownAds.inc();
      return answer({ is: 'unknown_ad' });
    }
    // A prefetched redirect may serve the real click without a request that we would see.
    if (isPrefetch(headers)) return answer({ is: 'prefetch' });

    const nowMs = Date.now();
    const clickId = uuidV7(nowMs);
    const location = destinationOf(ad, clickId);
    // The command line takes no such URL; a hand in the database may. Nobody pays for a click that leads nowhere.
    if (location === null) return answer({ is: 'unknown_ad' });
    if (method === 'HEAD') return answer({ is: 'redirect', location, clickId: null });

    const visitor = dependencies.visitorAddress(request.peer, headers['x-forwarded-for']);
    const agent = judgeAgent(headers['user-agent'] ?? '');
    if (agent.isHidden) metrics.hiddenAgents.inc();
    const person = `${agent.number} ${visitor}`;
    // Only a click that would count makes the next one a second.
    const isSecond = () => doubleClicks.isSecond(person, token, elapsedMs());
    const invalid = invalidReason(link, ad, agent, isSubresource(headers), isSecond, nowMs);
    const click = clickOf(link, ad, { clickId, clickedAt: nowMs, invalid, visitor, headers });
    const recorded = (sequence: number | null) => {
      if (sequence !== null) {
        metrics.clicksAccepted.inc({ kind: link.nonce === null ? 'evergreen' : 'impression' });
        return answer({ is: 'redirect', location, clickId });
      }
      if (invalid === null) doubleClicks.forget(person, token);
      metrics.clicksUnrecorded.inc();
      answer(whenFull === 'redirect' ? { is: 'redirect', location, clickId: null } : { is: 'refused' });
    };
    record(encodeClick(click), recorded, clickId);
  };
}

/** A link that was found in a request. */
export type FoundLink = { readonly token: string; readonly link: Link };

/**
 * The link that a path and query carry, or `null` for those of something else. Where the path as it stands holds no valid token, the
 * characters that cannot be part of one are cut off and the rest is verified: people and programs put dots, slashes, quotes and parameters
 * behind links. The tag covers the whole token in either case.
 */
export function findLink(target: string, verify: LinkVerifier): FoundLink | null {
  const exact = tokenOf(target);
  const link = exact === null ? null : verify(exact);
  if (exact !== null && link !== null) return { token: exact, link };
  const token = exact === null ? '' : trimmedToken(exact);
  const trimmed = token === exact ? null : verify(token);
  return trimmed === null ? null : { token, link: trimmed };
}

/** The characters of tokens that a text begins with, without the dots at their end. */
function trimmedToken(text: string): string {
  const token = /^[\w.-]*/.exec(text)?.[0] ?? '';
  let end = token.length;
  while (token[end - 1] === '.') end -= 1;
  return token.slice(0, end);
}

/** What stands where a token should in a path and query, or `null` for those of something else. Slashes may be doubled. */
export function tokenOf(target: string): string | null {
  // A proxy may send the whole URL: RFC 9112 §3.2.2 wants it accepted.
  const url = target.startsWith('/') || !URL.canParse(target) ? target : new URL(target).pathname;
  const isPlain = url.startsWith(PATH) && url[PATH.length] !== '/';
  const start = isPlain ? PATH.length : DOUBLED_SLASHES.exec(url)?.[0].length;
  if (start === undefined) return null;
  const end = url.indexOf('?');
  return end < 0 ? url.slice(start) : url.slice(start, end);
}

function invalidReason(
  link: Link,
  ad: CatalogAd,
  agent: Agent,
  subresource: boolean,
  isSecond: () => boolean,
  nowMs: number,
): EdgeInvalidReason | null {
  if (agent.isRobot) return 'bot';
  if (subresource) return 'not_navigation';
  if (link.expiresAt !== null && nowMs >= link.expiresAt) return 'expired';
  if (ad.paused) return 'paused';
  return isSecond() ? 'double_click' : null;
}

function clickOf(
  link: Link,
  ad: CatalogAd,
  found: {
    clickId: string;
    clickedAt: number;
    invalid: EdgeInvalidReason | null;
    visitor: string;
    headers: IncomingHttpHeaders;
  },
): ClickEvent {
  return {
    clickId: found.clickId,
    nonce: link.nonce,
    adId: ad.id,
    campaignId: ad.campaignId,
    advertiserId: ad.advertiserId,
    priceMicros: ad.priceMicros,
    clickedAt: found.clickedAt,
    invalid: found.invalid,
    budgetExhausted: ad.budgetExhausted,
    visitorNetwork: truncateAddress(found.visitor),
    userAgent: found.headers['user-agent']?.slice(0, USER_AGENT_MAX) ?? null,
    referrerHost: referrerHost(found.headers.referer),
  };
}

/** An ad's destination, taken apart around `{click_id}`. Made once for each copy of an ad in the catalogue. */
const taken = new WeakMap<CatalogAd, readonly string[]>();

/**
 * Where a click is sent: the ad's URL, or its campaign's fallback while the budget-exhausted flag is on. All three placeholders are
 * filled with digits, letters a–f and dashes: nothing to encode. `null` for a URL that cannot stand in a header.
 */
export function destinationOf(ad: CatalogAd, clickId: string): string | null {
  let parts = taken.get(ad);
  if (parts === undefined) {
    const template = ad.budgetExhausted && ad.fallbackUrl !== null ? ad.fallbackUrl : ad.urlTemplate;
    const filled = template
      .replaceAll('{ad_id}', String(ad.id))
      .replaceAll('{campaign_id}', String(ad.campaignId));
    // RFC 9110 §5.5, without spaces
    parts = /^[\x21-\x7e]+$/.test(filled) ? filled.split('{click_id}') : [];
    taken.set(ad, parts);
  }
  const [before, after] = parts;
  if (before === undefined) return null;
  return parts.length === 2 ? before + clickId + after : parts.join(clickId);
}
