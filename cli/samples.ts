import { SAMPLE_ADVERTISERS, SAMPLE_CURRENCY, sampleTemplate } from '../ad-server/http/public-pages.ts';
import { parseAmount } from '../common/money.ts';
import type { Pool } from '../common/postgres/postgres.ts';
import { addAd } from '../ledger/ads.ts';
import { addAdvertiser, listAdvertisers } from '../ledger/advertisers.ts';
import { addBudgetEntry } from '../ledger/budget-entries.ts';
import { addCampaign } from '../ledger/campaigns.ts';

/** Budget and price per click of each sample advertiser. */
const AMOUNTS = {
  coffee: { budget: '100.00', price: '0.25' },
  shoes: { budget: '50.00', price: '0.40' },
  travel: { budget: '10.00', price: '1.50' },
};

/** Adds three advertisers with a campaign and an ad each to an empty database. Returns whether it was empty. */
export async function addSamples(pool: Pool): Promise<boolean> {
  if ((await listAdvertisers(pool, { all: true })).length > 0) return false;
  for (const { name, slug } of SAMPLE_ADVERTISERS) {
    const { budget, price } = AMOUNTS[slug];
    const advertiser = await addAdvertiser(pool, name, SAMPLE_CURRENCY);
    await addBudgetEntry(pool, advertiser.id, 'top_up', parseAmount(budget), 'sample budget');
    const campaign = await addCampaign(pool, advertiser.id, `${name}: first campaign`);
    await addAd(pool, campaign.id, parseAmount(price), sampleTemplate(slug));
  }
  return true;
}
