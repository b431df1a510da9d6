import { parseAmount } from '../common/money.ts';
import type { Connection, Pool } from '../common/postgres/postgres.ts';
import { addAd } from '../ledger/accounts/ads.ts';
import { addAdvertiser, listAdvertisers } from '../ledger/accounts/advertisers.ts';
import { addBudgetEntry } from '../ledger/accounts/budget-entries.ts';
import { addCampaign } from '../ledger/accounts/campaigns.ts';
import {
  SAMPLE_ADVERTISERS,
  SAMPLE_CURRENCY,
  sampleTemplate,
} from '../ledger/accounts/sample-advertisers.ts';

/** Budget of each sample advertiser, and name and price per click of its ad. */
const SETTINGS = {
  coffee: { budget: '100.00', ad: 'Banner 300x250, coffee beans', price: '0.25' },
  shoes: { budget: '50.00', ad: 'Banner 728x90, running shoes', price: '0.40' },
  travel: { budget: '10.00', ad: 'Newsletter, train tickets', price: '1.50' },
};

/** Adds three advertisers with a campaign and an ad each to an empty database. Returns whether it was empty. */
export async function addSamples(database: Pool | Connection): Promise<boolean> {
  if ((await listAdvertisers(database, { all: true })).length > 0) return false;
  for (const { name, slug } of SAMPLE_ADVERTISERS) {
    const { budget, ad, price } = SETTINGS[slug];
    const advertiser = await addAdvertiser(database, name, SAMPLE_CURRENCY);
    await addBudgetEntry(database, advertiser.id, 'top_up', parseAmount(budget), 'sample budget');
    const campaign = await addCampaign(database, advertiser.id, `${name}: first campaign`);
    await addAd(database, campaign.id, parseAmount(price), sampleTemplate(slug), [], ad);
  }
  return true;
}
