import type { AdvertiserChoice } from '../../ui/advertiser-picker.tsx';
import type { Days } from './period.ts';

/** What a report is about; the filters are in the query of the page, so that a report can be bookmarked. */
export type Filter = {
  readonly advertiser: AdvertiserChoice | null;
  /** The id of a campaign that alone is reported. */
  readonly campaignId: number | null;
  readonly days: Days;
  /** The keys of its lines: one or two. */
  readonly by: readonly string[];
};
