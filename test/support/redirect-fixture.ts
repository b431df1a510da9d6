import { createVisitorAddress } from '../../ad-server/http/visitor.ts';
import { DoubleClicks } from '../../ad-server/redirect/double-clicks.ts';
import { createAgentJudge } from '../../ad-server/redirect/invalid-traffic.ts';
import { type Answer, type ClickRequest, createRedirect } from '../../ad-server/redirect/redirect.ts';
import { parseConfig } from '../../common/config/config.ts';
import { createMetrics } from '../../common/telemetry/metrics.ts';
import type { ClickEvent } from '../../contract/click-event.ts';
import { createSigner, createVerifier, evergreenLink } from '../../contract/link-token.ts';
import { readRecord } from '../../contract/read-record.ts';
import type { CatalogAd } from '../../ledger/accounts/catalog-ads.ts';
import { DAY_MS, k1 } from './link-samples.ts';

export const CHROME =
  'Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36';

/** An ad of the catalog. */
export function sampleAd(overrides: Partial<CatalogAd> = {}): CatalogAd {
  return {
    id: 42,
    campaignId: 7,
    advertiserId: 3,
    priceMicros: 250_000,
    urlTemplate: 'https://landing.example/?click={click_id}&ad={ad_id}&campaign={campaign_id}',
    passParameters: [],
    paused: false,
    exhaustedUntil: null,
    held: false,
    pace: null,
    startsAt: null,
    endsAt: null,
    fallbackUrl: null,
    ...overrides,
  };
}

export const sign = createSigner([k1]);

/** Path of an evergreen link to the sample ad. */
export const EVERGREEN_PATH = `/c/${sign(evergreenLink(42))}`;

type Waiting = { readonly encoded: string; readonly recorded: (sequence: number | null) => void };

/** A redirect with a recorder that tests control; everything else is as in production. */
export function redirectFixture(
  options: {
    ad?: CatalogAd | undefined;
    whenFull?: 'redirect' | 'refuse';
    doubleClickMs?: number;
    elapsedMs?: () => number;
    proxies?: string;
    noUserAgent?: 'person' | 'bot';
  } = {},
) {
  const catalog = new Map([[42, 'ad' in options ? options.ad : sampleAd()]]);
  const waiting: Waiting[] = [];
  const answers: Answer[] = [];
  const metrics = createMetrics();
  const { TRUSTED_PROXIES } = parseConfig({ TRUSTED_PROXIES: options.proxies ?? '' });
  const redirect = createRedirect({
    verify: createVerifier([k1], 90 * DAY_MS),
    findAd: (adId) => catalog.get(adId),
    visitorAddress: createVisitorAddress(TRUSTED_PROXIES),
    judgeAgent: createAgentJudge(options.noUserAgent).judge,
    doubleClicks: new DoubleClicks(options.doubleClickMs ?? 1_000),
    elapsedMs: options.elapsedMs ?? (() => performance.now()),
    record: (encoded, recorded) => waiting.push({ encoded, recorded }),
    whenFull: options.whenFull ?? 'redirect',
    metrics,
  });
  const next = () => {
    const first = waiting.shift();
    if (!first) throw new Error('Expected a click to be recorded, got none');
    return first;
  };
  return {
    catalog,
    waiting,
    answers,
    metrics,
    redirect,
    /** Sends a request; by default a visitor's `GET` of the evergreen link. */
    send: (request: Partial<ClickRequest> = {}): void =>
      redirect(
        {
          method: 'GET',
          url: EVERGREEN_PATH,
          headers: { 'user-agent': CHROME },
          peer: '198.51.100.77',
          ...request,
        },
        (answer) => answers.push(answer),
      ),
    /** The spool accepts the oldest waiting click; returns it. */
    take: (): ClickEvent => {
      const { encoded, recorded } = next();
      recorded(1);
      return decode(encoded);
    },
    /** The spool refuses the oldest waiting click. */
    refuse: (): void => next().recorded(null),
  };
}

/** The fields of an encoded click, which the handler must be able to read. */
export function decode(encoded: string): ClickEvent {
  const read = readRecord({ key: null, value: Buffer.from(encoded) }, 'test');
  if (read.is !== 'click') throw new Error(`Expected a click, got ${encoded}`);
  return JSON.parse(encoded) as ClickEvent;
}

/** The value of a counter with one set of labels; 0 if it was never incremented. */
export async function counterValue(
  counter: { get: () => Promise<{ values: { value: number; labels: object }[] }> },
  labels: Readonly<Record<string, string>> = {},
): Promise<number> {
  const { values } = await counter.get();
  const found = values.find((value) => JSON.stringify(value.labels) === JSON.stringify(labels));
  return found?.value ?? 0;
}
