import type { ReadClick } from '../../contract/click-event.ts';

/** The ids that the clicks of a batch refer to. They are locked and looked up before the batch is charged. */
export type BatchKeys = {
  readonly advertiserIds: readonly number[];
  readonly adIds: readonly number[];
  /** By spool id, the lowest and the highest sequence in the batch. */
  readonly spools: ReadonlyMap<string, { readonly lowest: number; readonly highest: number }>;
  /** Ids of clicks without a spool id. */
  readonly unattributedIds: readonly string[];
  readonly nonces: readonly string[];
  readonly userAgents: ReadonlySet<string>;
};

/**
 * Collects the ids and user agents of a batch; advertisers, ads, spools and user agents without repeats. One pass: a batch exceeds the CPU
 * cache, so each further pass would load it again.
 */
export function collectKeys(clicks: readonly ReadClick[]): BatchKeys {
  const advertiserIds = new Set<number>();
  const adIds = new Set<number>();
  const spools = new Map<string, { lowest: number; highest: number }>();
  const unattributedIds: string[] = [];
  const nonces: string[] = [];
  const userAgents = new Set<string>();
  for (const { click, from } of clicks) {
    advertiserIds.add(click.advertiserId);
    adIds.add(click.adId);
    if (click.nonce !== null) nonces.push(click.nonce);
    if (click.userAgent !== null) userAgents.add(click.userAgent);
    if (from === null) {
      unattributedIds.push(click.clickId);
      continue;
    }
    const range = spools.get(from.spoolId);
    if (range === undefined) spools.set(from.spoolId, { lowest: from.sequence, highest: from.sequence });
    else if (from.sequence > range.highest) range.highest = from.sequence;
    else if (from.sequence < range.lowest) range.lowest = from.sequence;
  }
  return {
    advertiserIds: [...advertiserIds],
    adIds: [...adIds],
    spools,
    unattributedIds,
    nonces,
    userAgents,
  };
}
