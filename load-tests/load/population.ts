import type { LinkKey } from '../../common/config/link-keys.ts';
import { TollwayError } from '../../common/errors.ts';
import type { Pool } from '../../common/postgres/postgres.ts';
import { sleep } from '../../common/process.ts';
import { createSigner, evergreenLink } from '../../contract/link-token.ts';
import { addAd } from '../../ledger/ads.ts';
import { addAdvertiser, setAdvertiserStatus } from '../../ledger/advertisers.ts';
import { addBudgetEntry } from '../../ledger/budget-entries.ts';
import { addCampaign, type Campaign } from '../../ledger/campaigns.ts';
import type { HttpTarget } from './http-target.ts';
import { type Arrival, createTraffic, FALLBACK_URL, type Shares } from './traffic.ts';

const PRICE_MICROS = 10_000n;
/** Time for the ad server to learn of new ads, in ms: it is notified, and polls every ten seconds by default. */
const KNOWN_MS_MAX = 30_000;

/** Who is clicked on in a load test: advertisers of its own, so that nobody else pays. */
export type Population = {
  readonly advertiserIds: readonly number[];
  readonly priceMicros: bigint;
  readonly adIds: readonly number[];
  /** The next arrival of the asked kinds. */
  readonly nextArrival: () => Arrival;
  /** A link to each ad, to be asked for by `HEAD`. */
  readonly paths: readonly string[];
  /** Pauses the advertisers: the load test is over. */
  readonly retire: () => Promise<void>;
};

export type PopulationOptions = {
  readonly advertisers: number;
  readonly ads: number;
  /** How much more the first ads are clicked than the last: the exponent of Zipf's law, 0 for all alike. */
  readonly skew: number;
  readonly shares: Shares;
  readonly seed: number;
  /** Part of all arrivals that go to one ad, besides its share by rank. */
  readonly favourite?: number;
  /** What each advertiser can pay for, in clicks. */
  readonly budgetClicks: number;
};

/** Makes advertisers with a campaign each, and their ads. */
export async function makePopulation(
  pool: Pool,
  keys: readonly LinkKey[],
  { advertisers, ads, budgetClicks, ...traffic }: PopulationOptions,
): Promise<Population> {
  const sign = createSigner(keys);
  const name = `Load test of ${new Date().toISOString()}`;
  const campaigns: Campaign[] = [];
  for (let number = 1; number <= advertisers; number += 1) {
    const { id } = await addAdvertiser(pool, `${name}, ${number}`, 'USD');
    await addBudgetEntry(pool, id, 'top_up', PRICE_MICROS * BigInt(budgetClicks), 'load test');
    campaigns.push(await addCampaign(pool, id, name, null, FALLBACK_URL));
  }
  const adIds: number[] = [];
  for (let number = 0; number < ads; number += 1) {
    const campaign = campaigns[number % campaigns.length];
    if (!campaign) throw new Error('Expected a campaign');
    const url = 'https://example.com/load-test?click={click_id}';
    adIds.push((await addAd(pool, campaign.id, PRICE_MICROS, url)).id);
  }
  const advertiserIds = campaigns.map(({ advertiserId }) => advertiserId);
  return {
    advertiserIds,
    priceMicros: PRICE_MICROS,
    adIds,
    nextArrival: createTraffic(adIds, sign, traffic),
    paths: adIds.map((adId) => `/c/${sign(evergreenLink(adId))}`),
    retire: async () => {
      for (const id of advertiserIds) await setAdvertiserStatus(pool, id, 'paused');
    },
  };
}

/**
 * Waits until the ad server redirects every ad of a population, asked by `HEAD`, which is no click.
 * Throws `target_unreachable`, `keys_differ`, `ads_unknown`.
 */
export async function waitUntilKnown(
  target: HttpTarget,
  population: Population,
  url: string,
  stop: AbortSignal,
): Promise<void> {
  const deadline = performance.now() + KNOWN_MS_MAX;
  for (const path of population.paths) {
    if (stop.aborted) return;
    let status = await target.probe(path);
    while (status === 503 && performance.now() < deadline && !stop.aborted) {
      await sleep(50);
      status = await target.probe(path);
    }
    if (status === 404) {
      const message = `${url} does not accept the links made here: expected the same LINK_KEYS as the ad server's`;
      throw new TollwayError('keys_differ', message);
    }
    if (status !== 302 && !stop.aborted) {
      const message = `Expected ${url} to know the new ads after ${KNOWN_MS_MAX / 1_000} s, got answer ${status}`;
      throw new TollwayError('ads_unknown', message);
    }
  }
}
