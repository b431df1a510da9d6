import { AdLookup } from '../../ad-server/catalog/ad-lookup.ts';
import { referrerHost, truncateAddress } from '../../ad-server/http/visitor.ts';
import { readClickQuery, subIdsOf } from '../../ad-server/redirect/click-query.ts';
import { DoubleClicks } from '../../ad-server/redirect/double-clicks.ts';
import type { AgentJudge } from '../../ad-server/redirect/invalid-traffic.ts';
import type { LinkKey } from '../../common/config/link-keys.ts';
import type { Pool } from '../../common/postgres/postgres.ts';
import { DAY_MS } from '../../common/unix-time.ts';
import { type EdgeInvalidReason, USER_AGENT_MAX } from '../../contract/click-event.ts';
import { findLink } from '../../contract/find-link.ts';
import { createVerifier, type LinkVerifier } from '../../contract/link-token.ts';
import { readEvent } from '../../processor/click-file.ts';
import type { ReadRequest, RecordedClick, UnplayableLine } from './line-result.ts';

/** How long an ad is cached, in ms. */
const AD_FRESH_MS = 600_000;

/** A click event that can be published. */
export type CompleteClick = { readonly is: 'complete'; readonly clickId: string; readonly value: Buffer };

/**
 * Completes recorded clicks to click events, in their order. The same file gives the same events, with the same click ids. Throws the errors of
 * `pg`.
 */
export type Completer = (clicks: readonly RecordedClick[]) => Promise<(CompleteClick | UnplayableLine)[]>;

/**
 * Looks up missing campaigns, advertisers and prices in the ad, with their current values. Requests of a log are checked like in the ad server,
 * at the time of the request and as far as the log has the data; `keys` verify their links.
 */
export function createCompleter(
  pool: Pool,
  fileHash: Buffer,
  {
    keys,
    linkLifeMaxDays,
    doubleClickMs,
    judgeAgent,
  }: {
    keys: readonly LinkKey[];
    linkLifeMaxDays: number;
    doubleClickMs: number;
    judgeAgent: AgentJudge['judge'];
  },
): Completer {
  const ads = new AdLookup(pool, AD_FRESH_MS);
  const verify = createVerifier(keys, linkLifeMaxDays * DAY_MS);
  const doubleClicks = new DoubleClicks(doubleClickMs);

  return async (clicks) => {
    const events = clicks.map((click) =>
      click.is === 'event'
        ? { line: click.line, event: click.event }
        : eventOf(click, verify, judgeAgent, doubleClicks),
    );
    const adIds = events.flatMap(({ event }) =>
      event === null || isComplete(event) ? [] : [Number(event.adId)],
    );
    await Promise.all([...new Set(adIds)].map((adId) => ads.refresh(adId)));
    return events.map(({ line, event }) => completeEvent(event, line, ads, fileHash));
  };
}

function completeEvent(
  event: Readonly<Record<string, unknown>> | null,
  line: number,
  ads: AdLookup,
  fileHash: Buffer,
): CompleteClick | UnplayableLine {
  if (event === null) return { is: 'skipped', line, why: 'a link that is not signed with one of LINK_KEYS' };
  const ad = ads.get(Number(event.adId));
  if (ad === undefined && !isComplete(event))
    return { is: 'skipped', line, why: 'an ad that is not in the database' };
  const completed = {
    ...event,
    campaignId: event.campaignId ?? ad?.campaignId,
    advertiserId: event.advertiserId ?? ad?.advertiserId,
    priceMicros: event.priceMicros ?? ad?.priceMicros,
  };
  const read = readEvent(completed, fileHash, line, '');
  if (read.is === 'click' && read.value !== null)
    return { is: 'complete', clickId: read.click.clickId, value: read.value };
  const why = read.is === 'unreadable' ? read.detail : `Expected a click, got a ${read.is}`;
  return { is: 'broken', line, why };
}

function isComplete({ campaignId, advertiserId, priceMicros }: Readonly<Record<string, unknown>>): boolean {
  return (campaignId ?? null) !== null && (advertiserId ?? null) !== null && (priceMicros ?? null) !== null;
}

function eventOf(
  { line, clickedAt, path, userAgent, referrer, address, visitor }: ReadRequest,
  verify: LinkVerifier,
  judgeAgent: AgentJudge['judge'],
  doubleClicks: DoubleClicks,
): { line: number; event: Record<string, unknown> | null } {
  const found = findLink(path, verify);
  if (found === null) return { line, event: null };
  const { link } = found;
  const agent = judgeAgent(userAgent ?? '');
  let invalid: EdgeInvalidReason | null = null;
  if (agent.isBot) invalid = 'bot';
  else if (link.expiresAt !== null && clickedAt >= link.expiresAt) invalid = 'expired';
  else if (doubleClicks.isSecond(`${agent.number} ${visitor}`, found.token, clickedAt))
    invalid = 'double_click';
  return {
    line,
    event: {
      clickedAt,
      nonce: link.nonce,
      adId: link.adId,
      invalid,
      visitorNetwork: truncateAddress(address ?? ''),
      userAgent: userAgent?.slice(0, USER_AGENT_MAX) ?? null,
      referrerHost: referrerHost(referrer ?? undefined),
      publisher: link.publisher,
      subIds: subIdsOf(readClickQuery(path)),
    },
  };
}
