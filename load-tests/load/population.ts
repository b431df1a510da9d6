import type { LinkKey } from '../../common/config/link-keys.ts';
import { TollwayError } from '../../common/errors.ts';
import type { Pool } from '../../common/postgres/postgres.ts';
import { sleep } from '../../common/process.ts';
import { createSigner, evergreenLink } from '../../contract/link-token.ts';
import { addAd } from '../../ledger/accounts/ads.ts';
import { addAdvertiser } from '../../ledger/accounts/advertisers.ts';
import { addBudgetEntry } from '../../ledger/accounts/budget-entries.ts';
import { addCampaign, type Campaign } from '../../ledger/accounts/campaigns.ts';
import type { HttpTarget } from './http-target.ts';
import { type Arrival, createTraffic, FALLBACK_URL, type Shares } from './traffic.ts';

const PRICE_MICROS = 10_000n;
/** Longest wait for the ad server to load new ads, in ms. It is notified of them and also polls, every 10 s by default. */
const CATALOG_WAIT_MS_MAX = 30_000;

/** The advertisers and ads of a load test. They are created for the test, so that no other advertiser is charged. */
export type Population = {
  /** Name of the run. An advertiser is named after it and its number, which counts from 1: `Load test of 2026-11-27T10:00:00.000Z, 1`. */
  readonly name: string;
  readonly advertiserIds: readonly number[];
  readonly priceMicros: bigint;
  readonly adIds: readonly number[];
  /** The next arrival, of a kind drawn by the configured shares. */
  readonly nextArrival: () => Arrival;
  /** The path of a link to each ad, for `HEAD` requests. */
  readonly paths: readonly string[];
};

export type PopulationOptions = {
  readonly advertisers: number;
  readonly ads: number;
  /** Exponent of Zipf's law for the distribution of clicks over ads; 0 is uniform. */
  readonly skew: number;
  readonly shares: Shares;
  readonly seed: number;
  /** Share (0–1) of all arrivals that go to the first ad in addition to its share by rank. Default 0. */
  readonly topAdShare?: number;
  /** Budget of each advertiser, in clicks. */
  readonly budgetClicks: number;
};

/**
 * Creates advertisers with one campaign each, and their ads. They are marked as made by a load test. Calls `onAdvertiser` for each, before
 * its campaign exists, so that the caller can archive it even if this fails.
 */
export async function makePopulation(
  pool: Pool,
  keys: readonly LinkKey[],
  onAdvertiser: (id: number) => void,
  { advertisers, ads, budgetClicks, ...traffic }: PopulationOptions,
): Promise<Population> {
  const sign = createSigner(keys);
  const name = `Load test of ${new Date().toISOString()}`;
  const campaigns: Campaign[] = [];
  for (let number = 1; number <= advertisers; number += 1) {
    const { id } = await addAdvertiser(pool, `${name}, ${number}`, 'USD', 'UTC', true);
    onAdvertiser(id);
    await addBudgetEntry(pool, id, 'top_up', PRICE_MICROS * BigInt(budgetClicks), 'load test');
    campaigns.push(await addCampaign(pool, id, name, { fallbackUrl: FALLBACK_URL }));
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
    name,
    advertiserIds,
    priceMicros: PRICE_MICROS,
    adIds,
    nextArrival: createTraffic(adIds, sign, traffic),
    paths: adIds.map((adId) => `/c/${sign(evergreenLink(adId))}`),
  };
}

/**
 * Waits until the ad server redirects every ad of a population. It sends `HEAD` requests, which are not clicks.
 * Throws `target_unreachable`, `keys_differ`, `ads_unknown`.
 */
export async function waitForAds(
  target: HttpTarget,
  population: Population,
  url: string,
  stop: AbortSignal,
): Promise<void> {
  const deadline = performance.now() + CATALOG_WAIT_MS_MAX;
  for (const path of population.paths) {
    if (stop.aborted) return;
    let status = await target.probe(path);
    while (status === 503 && performance.now() < deadline && !stop.aborted) {
      await sleep(50);
      status = await target.probe(path);
    }
    if (status === 404) {
      const message = `${url} rejects links that were signed here: expected the same LINK_KEYS as the ad server's`;
      throw new TollwayError('keys_differ', message);
    }
    if (status !== 302 && !stop.aborted) {
      const message = `Expected ${url} to redirect the new ads after ${CATALOG_WAIT_MS_MAX / 1_000} s, got status ${status}`;
      throw new TollwayError('ads_unknown', message);
    }
  }
}
