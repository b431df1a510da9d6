import { createSigner, impressionLink } from '../ad-server/link.ts';
import { errorMessage, TollwayError } from '../common/errors.ts';
import { sleep } from '../common/lifecycle.ts';
import type { LinkKey } from '../common/link-keys.ts';
import type { Pool } from '../common/postgres.ts';
import {
  addAd,
  addAdvertiser,
  addCampaign,
  enterBudget,
  setAdvertiserStatus,
} from '../processor/accounts.ts';
import type { HttpTarget } from './http-target.ts';

const PRICE_MICROS = 10_000n;
const ADS_A_CAMPAIGN = 2;
const LINK_LIFE_MS = 86_400_000;
/** Time for the ad server to learn of new ads, in ms: it is notified, and polls every ten seconds by default. */
const KNOWN_MS_MAX = 30_000;

/** Who is clicked on in a load test: advertisers of its own, so that nobody else pays. */
export type Population = {
  readonly advertiserIds: readonly number[];
  readonly priceMicros: bigint;
  /** The path of an impression link that was never used, of each ad in turn. */
  readonly nextPath: () => string;
  /** Pauses the advertisers: the load test is over. */
  readonly retire: () => Promise<void>;
};

/** Makes advertisers with a budget for `clicksMax` clicks each, however they are dealt, and ads for them. */
export async function makePopulation(
  pool: Pool,
  keys: readonly LinkKey[],
  { advertisers, clicksMax }: { advertisers: number; clicksMax: number },
): Promise<Population> {
  const sign = createSigner(keys);
  const name = `Load test of ${new Date().toISOString()}`;
  const advertiserIds: number[] = [];
  const adIds: number[] = [];
  for (let number = 1; number <= advertisers; number += 1) {
    const { id } = await addAdvertiser(pool, `${name}, ${number}`, 'USD');
    advertiserIds.push(id);
    await enterBudget(pool, id, 'top_up', PRICE_MICROS * BigInt(clicksMax), 'load test');
    const campaign = await addCampaign(pool, id, name, null, null);
    for (let count = 0; count < ADS_A_CAMPAIGN; count += 1) {
      const ad = await addAd(
        pool,
        campaign.id,
        PRICE_MICROS,
        'https://example.com/load-test?click={click_id}',
      );
      adIds.push(ad.id);
    }
  }
  let turn = 0;
  return {
    advertiserIds,
    priceMicros: PRICE_MICROS,
    nextPath: () => {
      const adId = adIds[turn % adIds.length] ?? 0;
      turn += 1;
      return `/c/${sign(impressionLink(adId, LINK_LIFE_MS))}`;
    },
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
  const deadline = Date.now() + KNOWN_MS_MAX;
  const ads = population.advertiserIds.length * ADS_A_CAMPAIGN;
  for (let known = 0; known < ads && !stop.aborted; ) {
    const path = population.nextPath();
    let status = await probe(target, path, url);
    while (status === 503 && Date.now() < deadline && !stop.aborted) {
      await sleep(50);
      status = await probe(target, path, url);
    }
    if (status === 404) {
      const message = `${url} does not accept the links made here: expected the same LINK_KEYS as the ad server's`;
      throw new TollwayError('keys_differ', message);
    }
    if (status !== 302 && !stop.aborted) {
      const message = `Expected ${url} to know the new ads after ${KNOWN_MS_MAX / 1_000} s, got answer ${status}`;
      throw new TollwayError('ads_unknown', message);
    }
    known += 1;
  }
}

/** Whether anything answers at all, asked before anything is made. Throws `target_unreachable`. */
export async function assertReachable(target: HttpTarget, url: string): Promise<void> {
  await probe(target, '/', url);
}

async function probe(target: HttpTarget, path: string, url: string): Promise<number> {
  try {
    return await target.probe(path);
  } catch (cause) {
    const message = `The ad server does not answer at ${url}: ${errorMessage(cause)}`;
    throw new TollwayError('target_unreachable', message, { cause });
  }
}
