import type { CatalogAd } from '../../ledger/accounts/catalog-ads.ts';
import { createPassFilter } from '../../ledger/accounts/pass-list.ts';
import { addParameters, type ClickQuery } from './click-query.ts';

/** The URLs of an ad and of its campaign's fallback, split at `{click_id}`. */
type Destinations = {
  readonly own: readonly string[];
  readonly fallback: readonly string[] | null;
  /** Whether a parameter of a click is passed on to the ad's own URL; `null` if none is. */
  readonly passes: ((name: string) => boolean) | null;
};

/** Computed once for each ad object of the catalog. */
const destinations = new WeakMap<CatalogAd, Destinations>();

/**
 * The URL that a click is redirected to: the ad's URL with the parameters of the click that it passes on, or the fallback URL of its campaign
 * while the budget is exhausted. The values of the placeholders consist of digits, letters a–f and dashes, so they need no encoding. `null`
 * for a URL that is not valid in a header.
 */
export function destinationOf(
  ad: CatalogAd,
  clickId: string,
  isBudgetExhausted: boolean,
  query: ClickQuery | null,
): string | null {
  let found = destinations.get(ad);
  if (found === undefined) {
    found = {
      own: splitTemplate(ad.urlTemplate, ad),
      fallback: ad.fallbackUrl === null ? null : splitTemplate(ad.fallbackUrl, ad),
      passes: ad.passParameters.length === 0 ? null : createPassFilter(ad.passParameters, ad.urlTemplate),
    };
    destinations.set(ad, found);
  }
  const parts = (isBudgetExhausted ? found.fallback : null) ?? found.own;
  const [before, after] = parts;
  if (before === undefined) return null;
  const url = parts.length === 2 ? before + clickId + after : parts.join(clickId);
  return query === null || found.passes === null || parts !== found.own
    ? url
    : addParameters(url, query, found.passes);
}

function splitTemplate(template: string, ad: CatalogAd): readonly string[] {
  const filled = template
    .replaceAll('{ad_id}', String(ad.id))
    .replaceAll('{campaign_id}', String(ad.campaignId));
  // Field values of RFC 9110 §5.5, without spaces.
  return /^[\x21-\x7e]+$/.test(filled) ? filled.split('{click_id}') : [];
}
