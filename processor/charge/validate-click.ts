import { counted } from '../../common/counted.ts';
import { TollwayError } from '../../common/errors.ts';
import { DAY_MS } from '../../common/unix-time.ts';
import { uuidV7TimeMs } from '../../common/uuid.ts';
import type { ReadClick } from '../../contract/click-event.ts';
import type { KnownAd } from '../../ledger/charge/balances.ts';
import type { RejectReason } from '../../ledger/charge/dead-letters.ts';
import type { LedgerWindow } from '../../ledger/ledger-window.ts';

export type ChargeContext = {
  readonly ads: ReadonlyMap<number, KnownAd>;
  readonly window: LedgerWindow;
  /** A click older than this when it arrives is too old; `null` allows every click whose day the ledger still has. */
  readonly clickAgeMaxDays: number | null;
};

/** Why a click must be rejected, or `null`. Throws `no_partition_yet` for a click of a coming day that has no partition yet. */
export function rejectionReason(
  { click }: ReadClick,
  { ads, window, clickAgeMaxDays }: ChargeContext,
): { reason: RejectReason; detail: string } | null {
  const { clickedAt, nonce } = click;
  if (clickedAt >= window.clickAheadMs && clickedAt <= window.nowMs + DAY_MS) {
    // The click is valid; maintenance has not created the partition of its day yet.
    throw new TollwayError('no_partition_yet', `Expected a partition for ${iso(clickedAt)}`, {
      retryable: true,
    });
  }
  if (clickedAt < window.clickFloorMs || clickedAt >= window.clickAheadMs) {
    const range = `${iso(window.clickFloorMs)} up to ${iso(window.clickAheadMs)}`;
    return { reason: 'id_out_of_range', detail: `Expected a click of ${range}, got ${iso(clickedAt)}` };
  }
  if (clickAgeMaxDays !== null && window.nowMs - clickedAt > clickAgeMaxDays * DAY_MS) {
    const detail = `Expected a click of the last ${counted(clickAgeMaxDays, 'day')}, got ${iso(clickedAt)}`;
    return { reason: 'too_old', detail };
  }
  // An invalid click spends no nonce, so the age of its link does not matter.
  if (nonce !== null && click.invalid === null) {
    const mintedAt = uuidV7TimeMs(nonce);
    if (mintedAt < window.nonceFloorMs || mintedAt >= window.nonceAheadMs) {
      const range = `${iso(window.nonceFloorMs)} up to ${iso(window.nonceAheadMs)}`;
      return { reason: 'nonce_out_of_range', detail: `Expected a link made ${range}, got ${iso(mintedAt)}` };
    }
  }
  const ad = ads.get(click.adId);
  if (ad === undefined) {
    const { adId, campaignId, advertiserId } = click;
    const detail = `Expected the id of an ad in the database, got ${adId} (of campaign ${campaignId}, advertiser ${advertiserId})`;
    return { reason: 'unknown_ad', detail };
  }
  if (ad.advertiserId !== click.advertiserId || ad.campaignId !== click.campaignId) {
    return {
      reason: 'wrong_advertiser',
      detail:
        `Expected advertiser ${ad.advertiserId} and campaign ${ad.campaignId} for ad ${click.adId}, ` +
        `got ${click.advertiserId} and ${click.campaignId}`,
    };
  }
  return null;
}

function iso(timeMs: number): string {
  return new Date(timeMs).toISOString();
}
