import type { IncomingHttpHeaders } from 'node:http';
import type { Metrics } from '../../common/telemetry/metrics.ts';
import { traceRedirect } from '../../common/telemetry/tracing.ts';
import { uuidV7 } from '../../common/uuid.ts';
import {
  type ClickEvent,
  type EdgeInvalidReason,
  encodeClick,
  USER_AGENT_MAX,
} from '../../contract/click-event.ts';
import { findLink } from '../../contract/find-link.ts';
import type { Link, LinkVerifier } from '../../contract/link-token.ts';
import type { SubIds } from '../../contract/sub-ids.ts';
import { type CatalogAd, isExhausted, isRunning } from '../../ledger/accounts/catalog-ads.ts';
import { findPage } from '../http/public-pages.ts';
import { referrerHost, truncateAddress, type VisitorAddress } from '../http/visitor.ts';
import { readClickQuery, subIdsOf } from './click-query.ts';
import { destinationOf } from './destination.ts';
import type { DoubleClicks } from './double-clicks.ts';
import { type Agent, type AgentJudge, isPrefetch, isSubresource } from './invalid-traffic.ts';

/** The fields of a request on the public port that a redirect reads. */
export type ClickRequest = {
  readonly method: string;
  /** Path and query. */
  readonly url: string;
  readonly headers: IncomingHttpHeaders;
  /** Address of the peer. */
  readonly peer: string | undefined;
};

/** A response of the public port. `clickId` is `null` if no click was recorded. */
export type Answer =
  | { readonly is: 'redirect'; readonly location: string; readonly clickId: string | null }
  | { readonly is: 'page'; readonly html: string }
  | { readonly is: 'not_found' | 'unknown_ad' | 'refused' | 'prefetch' | 'wrong_method' };

export type RedirectDependencies = {
  readonly verify: LinkVerifier;
  readonly findAd: (adId: number) => CatalogAd | undefined;
  readonly visitorAddress: VisitorAddress;
  readonly judgeAgent: AgentJudge['judge'];
  readonly doubleClicks: DoubleClicks;
  /**
   * The clock of the double-click window, in ms. `performance.now` in a long-lived process, because it does not depend on the system clock.
   * `Date.now` in a function, because the platform can freeze the process, which stops `performance.now`.
   */
  readonly elapsedMs: () => number;
  /** Stores a click durably, then calls `recorded` with its sequence, or with `null` if it could not be stored. */
  readonly record: (
    encodedClick: string,
    recorded: (sequence: number | null) => void,
    clickId: string,
  ) => void;
  readonly whenFull: 'redirect' | 'refuse';
  readonly metrics: Metrics;
};

/**
 * Creates the redirect: it judges the request, records the click, and then answers. It waits only for `record`.
 */
export function createRedirect(dependencies: RedirectDependencies) {
  const { verify, findAd, judgeAgent, doubleClicks, elapsedMs, record, whenFull, metrics } = dependencies;

  return (request: ClickRequest, answer: (answer: Answer) => void): void => {
    const { method, url, headers } = request;
    if (method !== 'GET' && method !== 'HEAD') return answer({ is: 'wrong_method' });
    const found = findLink(url, verify);
    if (found === null) {
      const html = findPage(url, findAd);
      return answer(html === null ? { is: 'not_found' } : { is: 'page', html });
    }
    const { token, link } = found;
    const ad = findAd(link.adId);
    if (ad === undefined) {
      metrics.unknownAds.inc();
      return answer({ is: 'unknown_ad' });
    }
    // A browser can use a prefetched redirect for the real click without a second request, so a prefetch gets no redirect.
    if (isPrefetch(headers)) return answer({ is: 'prefetch' });

    const nowMs = Date.now();
    const clickId = uuidV7(nowMs);
    const budgetExhausted = isExhausted(ad, nowMs);
    const query = readClickQuery(url);
    const location = destinationOf(ad, clickId, budgetExhausted, query);
    // The command line refuses such a URL, but SQL can store it. A click without a destination is not charged.
    if (location === null) return answer({ is: 'unknown_ad' });
    if (method === 'HEAD') return answer({ is: 'redirect', location, clickId: null });

    const trace = traceRedirect(headers.traceparent, clickId, ad.id);
    const visitor = dependencies.visitorAddress(request.peer, headers['x-forwarded-for']);
    const agent = judgeAgent(headers['user-agent'] ?? '');
    if (agent.isHidden) metrics.hiddenAgents.inc();
    const visitorKey = `${agent.number} ${visitor}`;
    // Called only if no other invalid reason applies: it stores the click as the first of its window.
    const isSecond = () => doubleClicks.isSecond(visitorKey, token, elapsedMs());
    const invalid = invalidReason(link, ad, agent, isSubresource(headers), isSecond, nowMs);
    const click = clickOf(link, ad, {
      clickId,
      clickedAt: nowMs,
      invalid,
      budgetExhausted,
      visitor,
      headers,
      subIds: subIdsOf(query),
      traceparent: trace.traceparent,
    });
    const onRecorded = (sequence: number | null) => {
      if (sequence !== null) {
        metrics.clicksAccepted.inc({ kind: link.nonce === null ? 'evergreen' : 'impression' });
        answer({ is: 'redirect', location, clickId });
        return trace.end(true, invalid);
      }
      if (invalid === null) doubleClicks.forget(visitorKey, token);
      metrics.clicksUnrecorded.inc();
      answer(whenFull === 'redirect' ? { is: 'redirect', location, clickId: null } : { is: 'refused' });
      trace.end(false, invalid);
    };
    record(encodeClick(click), onRecorded, clickId);
  };
}

function invalidReason(
  link: Link,
  ad: CatalogAd,
  agent: Agent,
  isSubresourceRequest: boolean,
  isSecond: () => boolean,
  nowMs: number,
): EdgeInvalidReason | null {
  if (agent.isBot) return 'bot';
  if (isSubresourceRequest) return 'not_navigation';
  if (link.expiresAt !== null && nowMs >= link.expiresAt) return 'expired';
  if (ad.paused) return 'paused';
  if (!isRunning(ad, nowMs)) return 'not_running';
  return isSecond() ? 'double_click' : null;
}

function clickOf(
  link: Link,
  ad: CatalogAd,
  details: {
    clickId: string;
    clickedAt: number;
    invalid: EdgeInvalidReason | null;
    budgetExhausted: boolean;
    visitor: string;
    headers: IncomingHttpHeaders;
    subIds: SubIds | null;
    traceparent: string | null;
  },
): ClickEvent {
  return {
    clickId: details.clickId,
    nonce: link.nonce,
    adId: ad.id,
    campaignId: ad.campaignId,
    advertiserId: ad.advertiserId,
    priceMicros: ad.priceMicros,
    clickedAt: details.clickedAt,
    invalid: details.invalid,
    budgetExhausted: details.budgetExhausted,
    // Only a visitor who was sent to the fallback URL was held.
    held: details.budgetExhausted && ad.held && ad.fallbackUrl !== null,
    visitorNetwork: truncateAddress(details.visitor),
    userAgent: details.headers['user-agent']?.slice(0, USER_AGENT_MAX) ?? null,
    referrerHost: referrerHost(details.headers.referer),
    publisher: link.publisher,
    subIds: details.subIds,
    traceparent: details.traceparent,
  };
}
