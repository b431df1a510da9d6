import { TollwayError } from '../../common/errors.ts';
import type { Pool } from '../../common/postgres/postgres.ts';
import { readCampaign, unknownCampaign } from '../../ledger/accounts/campaigns.ts';
import type { ClickFilter } from '../../ledger/click-filter.ts';
import { assertAdvertiser, assertVisible, type Caller } from './access.ts';

/** What a request limits its answer to; absent values do not limit it. */
type Wanted = {
  readonly advertiserId?: number | undefined;
  readonly campaignId?: number | undefined;
  readonly publisher?: string | undefined;
};

/**
 * Limits a filter of clicks to what the caller may see. A key of one advertiser need not name it; a key of several names one of them, because
 * sums of several would mix their time zones. Throws `bad_request` if it names none, and `unknown_advertiser` or `unknown_campaign` for those
 * of others, as for ids that do not exist.
 */
export async function restrictClickFilter(pool: Pool, caller: Caller, wanted: Wanted): Promise<ClickFilter> {
  const advertiserId = advertiserOf(caller, wanted.advertiserId);
  if (advertiserId !== undefined) assertAdvertiser(caller, advertiserId);
  const { campaignId, publisher } = wanted;
  if (campaignId !== undefined && caller.advertiserIds !== null) {
    const campaign = await readCampaign(pool, campaignId);
    assertVisible(caller, campaign.advertiserId, () => unknownCampaign(campaignId));
  }
  return {
    ...(advertiserId !== undefined && { advertiserId }),
    ...(campaignId !== undefined && { campaignId }),
    ...(publisher !== undefined && { publisher }),
  };
}

function advertiserOf({ advertiserIds }: Caller, wanted: number | undefined): number | undefined {
  if (wanted !== undefined || advertiserIds === null) return wanted;
  const [first, ...others] = advertiserIds;
  if (others.length === 0) return first;
  throw new TollwayError(
    'bad_request',
    `query: advertiserId: expected one of the advertisers of the key (${advertiserIds.join(', ')}), got none`,
  );
}
