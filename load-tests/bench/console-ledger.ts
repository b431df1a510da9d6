import type { Pool } from '../../common/postgres/postgres.ts';

export const ADVERTISERS = 10_000;
export const CAMPAIGNS = 20_000;
export const ADS = 100_000;
const PRICE_MICROS = 10_000;

/** Creates advertisers, two campaigns of each with a cap, and five ads of each campaign. Their ids begin at 1. */
export async function fillSettings(pool: Pool): Promise<void> {
  await pool.query(
    `insert into advertiser (name, currency, budget_micros, max_price_micros)
     select 'Advertiser ' || n, 'USD', 1000000000, ${PRICE_MICROS} from generate_series(1, ${ADVERTISERS}) n`,
  );
  await pool.query(
    `insert into budget_entry (advertiser_id, kind, amount_micros, reference)
     select id, 'top_up', budget_micros, 'bench' from advertiser`,
  );
  await pool.query(
    `insert into campaign (advertiser_id, name, cap_micros)
     select 1 + (n - 1) % ${ADVERTISERS}, 'Campaign ' || n, 1000000000 from generate_series(1, ${CAMPAIGNS}) n`,
  );
  await pool.query(
    `insert into ad (campaign_id, advertiser_id, name, price_micros, url_template)
     select id, advertiser_id, 'Banner ' || n, ${PRICE_MICROS}, 'https://example.com/?click={click_id}'
     from generate_series(1, ${ADS}) n join campaign on id = 1 + (n - 1) % ${CAMPAIGNS} order by n`,
  );
  await pool.query('vacuum (analyze) advertiser, campaign, ad, budget_entry');
}
