import type { ReadClick, ReadMark, ReadRecord, Unreadable } from '../producer/click-event.ts';
import { identityOf } from './dead-letters.ts';

/**
 * Splits a batch by what its records are, without the copies that it holds itself: clicks in order of time, then id, and the place
 * that each has among all clicks of the batch.
 */
export function sortOut(batch: readonly ReadRecord[]) {
  const found: ReadClick[] = [];
  const unreadable = new Map<string, Unreadable>();
  const marks: ReadMark[] = [];
  for (const record of batch) {
    if (record.is === 'click') found.push(record);
    else if (record.is === 'mark') marks.push(record);
    else unreadable.set(identityOf(record), record);
  }
  // A click id is a UUIDv7: in the order of their texts, clicks are in order of time and then of id.
  const idAt = (place: number) => found[place]?.click.clickId ?? '';
  let hasCopies = false;
  // Batches come in order, or in stretches that are: this takes hardly more than a look at each neighbour.
  const inOrder = found
    .map((_, place) => place)
    .sort((a, b) => {
      const [first, second] = [idAt(a), idAt(b)];
      if (first > second) return 1;
      if (first < second) return -1;
      hasCopies = true;
      return a - b;
    });
  const isFirst = (place: number, at: number) => at === 0 || idAt(place) !== idAt(inOrder[at - 1] ?? place);
  const places = hasCopies ? inOrder.filter(isFirst) : inOrder;
  const clicks: ReadClick[] = [];
  for (const place of places) {
    const record = found[place];
    if (record) clicks.push(record);
  }
  return { clicks, places, unreadable: [...unreadable.values()], marks };
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
