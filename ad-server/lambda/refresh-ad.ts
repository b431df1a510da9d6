import type { Logger } from '../../common/telemetry/logger.ts';
import { ThrottledLog } from '../../common/telemetry/throttled-log.ts';
import type { AdLookup } from '../catalog/ad-lookup.ts';
import { retryInTime } from './retry-in-time.ts';

/** Longest wait for an update of a cached ad, in ms. After that, the cached one is used. */
const REFRESH_MS_MAX = 250;

/**
 * Makes a function that reads the ad of a click before the redirect looks it up. It waits at most `waitMs`, does not throw, and calls
 * `onError` with the error of each failed attempt.
 */
export function createAdRefresh(
  ads: AdLookup,
  waitMs: number,
  logger: Logger,
  onError: (error: unknown) => void,
): (adId: number) => Promise<void> {
  const log = new ThrottledLog(logger, {
    failed: 'An ad cannot be read. Cached ads are still redirected. Check the connection to the database',
    recovered: 'Ads are read again',
  });
  return async (adId) => {
    const refresh = () => ads.refresh(adId).then(() => null);
    const isCached = ads.get(adId) !== undefined;
    const problem = await retryInTime(refresh, isCached ? Math.min(waitMs, REFRESH_MS_MAX) : waitMs, onError);
    if (problem !== null) {
      ads.extendTtl();
      log.fail({ adId, problem });
    } else log.recover();
  };
}
