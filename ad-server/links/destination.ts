import type { CatalogAd } from '../../ledger/catalog-ads.ts';

/** Destinations, split at `{click_id}`. Computed once for each ad object of the catalog. */
const splitDestinations = new WeakMap<CatalogAd, readonly string[]>();

/**
 * The URL that a click is redirected to: the ad's URL, or the fallback URL of its campaign while the budget-exhausted flag is on. The values
 * of the placeholders consist of digits, letters a–f and dashes, so they need no encoding. `null` for a URL that is not valid in a header.
 */
export function destinationOf(ad: CatalogAd, clickId: string): string | null {
  let parts = splitDestinations.get(ad);
  if (parts === undefined) {
    const template = ad.budgetExhausted && ad.fallbackUrl !== null ? ad.fallbackUrl : ad.urlTemplate;
    const filled = template
      .replaceAll('{ad_id}', String(ad.id))
      .replaceAll('{campaign_id}', String(ad.campaignId));
    // Field values of RFC 9110 §5.5, without spaces.
    parts = /^[\x21-\x7e]+$/.test(filled) ? filled.split('{click_id}') : [];
    splitDestinations.set(ad, parts);
  }
  const [before, after] = parts;
  if (before === undefined) return null;
  return parts.length === 2 ? before + clickId + after : parts.join(clickId);
}
