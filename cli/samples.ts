import { parseAmount } from '../common/money.ts';
import type { Pool } from '../common/postgres/postgres.ts';
import { addAd } from '../ledger/ads.ts';
import { addAdvertiser, listAdvertisers } from '../ledger/advertisers.ts';
import { addBudgetEntry } from '../ledger/budget-entries.ts';
import { addCampaign } from '../ledger/campaigns.ts';

const SAMPLES = [
  {
    name: 'Sample Coffee',
    budget: '100.00',
    price: '0.25',
    url: 'https://example.com/coffee?click={click_id}',
  },
  {
    name: 'Sample Shoes',
    budget: '50.00',
    price: '0.40',
    url: 'https://example.com/shoes?click={click_id}&ad={ad_id}',
  },
  {
    name: 'Sample Travel',
    budget: '10.00',
    price: '1.50',
    url: 'https://example.com/travel?click={click_id}&c={campaign_id}',
  },
];

/** Gives an empty database three advertisers, each with a campaign and an ad, so that there is something to click. Returns whether it was empty. */
export async function addSamples(pool: Pool): Promise<boolean> {
  if ((await listAdvertisers(pool)).length > 0) return false;
  for (const { name, budget, price, url } of SAMPLES) {
    const advertiser = await addAdvertiser(pool, name, 'USD');
    await addBudgetEntry(pool, advertiser.id, 'top_up', parseAmount(budget), 'sample budget');
    const campaign = await addCampaign(pool, advertiser.id, `${name}: first campaign`, null, null);
    await addAd(pool, campaign.id, parseAmount(price), url);
  }
  return true;
}
