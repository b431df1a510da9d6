import type { ReadClick, ReadMark, ReadRecord, Unreadable } from '../producer/click-event.ts';
import { identityOf } from './dead-letters.ts';

/**
 * Splits a batch by what its records are, without the copies that it holds itself: clicks in order of time, then id, and the place
 * that each has among all clicks of the batch, or `null` where that is their order.
 */
export function sortOut(batch: readonly ReadRecord[]) {
  const found: ReadClick[] = [];
  const unreadable = new Map<string, Unreadable>();
  const marks: ReadMark[] = [];
  let isInOrder = true;
  let latestId = '';
  for (const record of batch) {
    if (record.is === 'mark') marks.push(record);
    else if (record.is === 'unreadable') unreadable.set(identityOf(record), record);
    else {
      // A click id is a UUIDv7: in the order of their texts, clicks are in order of time and then of id.
      isInOrder &&= record.click.clickId > latestId;
      latestId = record.click.clickId;
      found.push(record);
    }
  }
  const others = { unreadable: [...unreadable.values()], marks };
  if (isInOrder) return { clicks: found, places: null, ...others };
  const places = placesInOrder(found);
  return { clicks: places.flatMap((place) => found[place] ?? []), places, ...others };
}

/** The places of clicks in order of their ids; of copies, the place of the first. */
function placesInOrder(clicks: readonly ReadClick[]): number[] {
  const idAt = (place: number) => clicks[place]?.click.clickId ?? '';
  let hasCopies = false;
  // Batches come in stretches that are in order: this takes few comparisons more than clicks.
  const places = clicks.map((_, place) => place);
  places.sort((a, b) => {
    const [first, second] = [idAt(a), idAt(b)];
    if (first > second) return 1;
    if (first < second) return -1;
    hasCopies = true;
    return a - b;
  });
  if (!hasCopies) return places;
  return places.filter((place, at) => at === 0 || idAt(place) !== idAt(places[at - 1] ?? place));
}

/** What clicks name: what is locked and looked up for them. */
export type Named = {
  readonly advertiserIds: readonly number[];
  readonly adIds: readonly number[];
  /** The lowest and the highest sequence by origin. */
  readonly origins: ReadonlyMap<string, { readonly lowest: number; readonly highest: number }>;
  /** Ids of clicks without an origin. */
  readonly unattributedIds: readonly string[];
  readonly nonces: readonly string[];
};

/**
 * Collects what clicks name, each advertiser, ad and origin once. In one walk: a batch is larger than what a core has at hand, and each
 * walk after a wait fetches all of it again.
 */
export function namedBy(clicks: readonly ReadClick[]): Named {
  const advertiserIds = new Set<number>();
  const adIds = new Set<number>();
  const origins = new Map<string, { lowest: number; highest: number }>();
  const unattributedIds: string[] = [];
  const nonces: string[] = [];
  for (const { click, from } of clicks) {
    advertiserIds.add(click.advertiserId);
    adIds.add(click.adId);
    if (click.nonce !== null) nonces.push(click.nonce);
    if (from === null) {
      unattributedIds.push(click.clickId);
      continue;
    }
    const range = origins.get(from.origin);
    if (range === undefined) origins.set(from.origin, { lowest: from.sequence, highest: from.sequence });
    else if (from.sequence > range.highest) range.highest = from.sequence;
    else if (from.sequence < range.lowest) range.lowest = from.sequence;
  }
  return { advertiserIds: [...advertiserIds], adIds: [...adIds], origins, unattributedIds, nonces };
}
