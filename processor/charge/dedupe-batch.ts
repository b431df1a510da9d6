import type { ReadClick, ReadRecord, ReadWatermark, Unreadable } from '../../contract/click-event.ts';
import { identityOf } from '../../ledger/dead-letters.ts';

/**
 * Splits a batch by what its records are, without the copies that it holds itself: clicks in order of time, then id, and the place
 * that each has among all clicks of the batch, or `null` where that is their order.
 */
export function dedupeBatch(batch: readonly ReadRecord[]) {
  const found: ReadClick[] = [];
  const unreadable = new Map<string, Unreadable>();
  const watermarks: ReadWatermark[] = [];
  let isInOrder = true;
  let latestId = '';
  for (const record of batch) {
    if (record.is === 'watermark') watermarks.push(record);
    else if (record.is === 'unreadable') unreadable.set(identityOf(record), record);
    else {
      // A click id is a UUIDv7: in the order of their texts, clicks are in order of time and then of id.
      isInOrder &&= record.click.clickId > latestId;
      latestId = record.click.clickId;
      found.push(record);
    }
  }
  const others = { unreadable: [...unreadable.values()], watermarks };
  if (isInOrder) return { clicks: found, places: null, ...others };
  const places = placesInOrder(found);
  return { clicks: places.flatMap((place) => found[place] ?? []), places, ...others };
}

/** The places of clicks in order of their ids; of copies, the place of the first that has a key, which settles a sequence. */
function placesInOrder(clicks: readonly ReadClick[]): number[] {
  const idAt = (place: number) => clicks[place]?.click.clickId ?? '';
  const keylessAt = (place: number) => (clicks[place]?.from === null ? 1 : 0);
  let hasCopies = false;
  // Batches come in stretches that are in order: this takes few comparisons more than clicks.
  const places = clicks.map((_, place) => place);
  places.sort((a, b) => {
    const [first, second] = [idAt(a), idAt(b)];
    if (first > second) return 1;
    if (first < second) return -1;
    hasCopies = true;
    return keylessAt(a) - keylessAt(b) || a - b;
  });
  if (!hasCopies) return places;
  return places.filter((place, at) => at === 0 || idAt(place) !== idAt(places[at - 1] ?? place));
}
