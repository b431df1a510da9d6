import { microsOf } from '../../amounts.ts';
import type { Ad, Advertiser, Campaign } from '../../entities.ts';

/** What an advertiser needs before a click is charged. */
export type Step = 'top_up' | 'campaign' | 'ad' | 'link';

/** The steps from a new advertiser to the first charged click, each with whether it is done. */
export function nextSteps(
  advertiser: Pick<Advertiser, 'budget' | 'spent'>,
  campaigns: readonly Pick<Campaign, 'id'>[],
  ads: readonly Pick<Ad, 'id'>[],
): readonly { readonly step: Step; readonly isDone: boolean }[] {
  return [
    { step: 'top_up', isDone: microsOf(advertiser.budget) > 0n },
    { step: 'campaign', isDone: campaigns.length > 0 },
    { step: 'ad', isDone: ads.length > 0 },
    // Links are not stored. A charge shows that one was made.
    { step: 'link', isDone: microsOf(advertiser.spent) > 0n },
  ];
}
