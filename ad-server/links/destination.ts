import type { CatalogAd } from '../../ledger/catalog-ads.ts';

/** An ad's destination, taken apart around `{click_id}`. Made once for each copy of an ad in the catalog. */
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
