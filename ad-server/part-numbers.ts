import type { Config } from '../common/config/config.ts';
import { metricList } from '../common/telemetry/metric-list.ts';
import { metricReader } from '../common/telemetry/metric-reader.ts';
import type { Registry } from '../common/telemetry/metrics.ts';
import { RecentHistogram } from '../common/telemetry/recent-histogram.ts';
import { RecentIncrease } from '../common/telemetry/recent-increase.ts';
import type { AdServerNumbers } from '../ledger/operations/part-numbers.ts';

/** How far the numbers with `Recently` look back, in ms, as the alerts TollwayClicksUnrecorded, TollwayRedirectErrors and TollwayLinksNotFound do. */
const RECENT_MS = 600_000;
/** The answers to requests with a valid link that are errors, and all answers to them, as in the alert TollwayRedirectErrors. */
export const LINK_ERRORS = ['refused', 'unknown_ad'];
export const LINK_ANSWERS = ['redirect', 'prefetch', ...LINK_ERRORS];

const isOneOf =
  (answers: readonly unknown[]) =>
  ({ answer }: { readonly answer?: unknown }) =>
    answers.includes(answer);

/** Creates a function that reads the numbers of an ad server from its metrics: those of its process, or the sums of its workers. */
export function adServerNumbers(registry: () => Registry, config: Config): () => Promise<AdServerNumbers> {
  const redirects = new RecentHistogram();
  const lost = new RecentIncrease(RECENT_MS);
  const answered = new RecentIncrease(RECENT_MS);
  const refused = new RecentIncrease(RECENT_MS);
  const requests = new RecentIncrease(RECENT_MS);
  const notFound = new RecentIncrease(RECENT_MS);
  return async () => {
    const { sum, histogram } = metricReader(registry());
    const unrecorded = await sum(metricList.clicksUnrecorded.name);
    redirects.take(await histogram(metricList.redirectDuration.name));
    return {
      workers: config.AD_SERVER_WORKERS,
      accepted: await sum(metricList.clicksAccepted.name),
      relayed: await sum(metricList.relayedClicks.name),
      unrecorded,
      unrecordedRecently: unrecorded === null ? null : lost.take(unrecorded),
      linksAnsweredRecently: answered.take(
        (await sum(metricList.redirects.name, isOneOf(LINK_ANSWERS))) ?? 0,
      ),
      linksRefusedRecently: refused.take((await sum(metricList.redirects.name, isOneOf(LINK_ERRORS))) ?? 0),
      requestsRecently: requests.take((await sum(metricList.redirects.name)) ?? 0),
      linksNotFoundRecently: notFound.take(
        (await sum(metricList.redirects.name, isOneOf(['not_found']))) ?? 0,
      ),
      redirectsPerSecond: redirects.perSecond(),
      redirectP99Seconds: redirects.quantile(0.99),
      spoolBytes: await sum(metricList.spoolBytes.name),
      spoolBytesMax: config.SPOOL_MAX_BYTES,
      spoolOldestSeconds: await sum(metricList.spoolOldestAge.name),
      catalogAgeSeconds: await sum(metricList.catalogAge.name),
      catalogAds: await sum(metricList.catalogAds.name),
      clockOffsetSeconds: await sum(metricList.clockOffset.name),
    };
  };
}
