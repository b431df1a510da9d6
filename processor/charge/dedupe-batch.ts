import type { ReadClick, ReadRecord, ReadWatermark, Unreadable } from '../../contract/click-event.ts';
import { identityOf } from '../../ledger/dead-letters.ts';

/**
 * Splits a batch by kind of record and drops the copies in it. `clicks` are in order of time, then id. `positions` has the index of each
 * of them among all clicks of the batch, or is `null` if they already came in that order.
 */
export function dedupeBatch(batch: readonly ReadRecord[]) {
  const found: ReadClick[] = [];
  const unreadable = new Map<string, Unreadable>();
  const watermarks: ReadWatermark[] = [];
  let isSorted = true;
  let latestId = '';
  for (const record of batch) {
    if (record.is === 'watermark') watermarks.push(record);
    else if (record.is === 'unreadable') unreadable.set(identityOf(record), record);
    else {
      // A click id is a UUIDv7: in text order, clicks are in order of time, then id.
      isSorted &&= record.click.clickId > latestId;
      latestId = record.click.clickId;
      found.push(record);
    }
  }
  const others = { unreadable: [...unreadable.values()], watermarks };
  if (isSorted) return { clicks: found, positions: null, ...others };
  const positions = sortedPositions(found);
  return { clicks: positions.flatMap((position) => found[position] ?? []), positions, ...others };
}

/** The indexes of clicks in order of their ids. Of copies it keeps the first that has a record key, because a key settles a sequence. */
function sortedPositions(clicks: readonly ReadClick[]): number[] {
  const idAt = (position: number) => clicks[position]?.click.clickId ?? '';
  const keylessAt = (position: number) => (clicks[position]?.from === null ? 1 : 0);
  let hasCopies = false;
  // A batch consists of sorted runs, which this sort merges with little more than one comparison for each click.
  const positions = clicks.map((_, position) => position);
  positions.sort((a, b) => {
    const [first, second] = [idAt(a), idAt(b)];
    if (first > second) return 1;
    if (first < second) return -1;
    hasCopies = true;
    return keylessAt(a) - keylessAt(b) || a - b;
  });
  if (!hasCopies) return positions;
  return positions.filter(
    (position, index) => index === 0 || idAt(position) !== idAt(positions[index - 1] ?? position),
  );
}
