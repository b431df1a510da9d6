import type { ReadClick, ReadRecord, ReadWatermark, Unreadable } from '../../contract/click-event.ts';
import { compareClicks } from '../../contract/decoded-click.ts';
import { identityOf } from '../../ledger/charge/dead-letters.ts';

/**
 * Splits a batch by kind of record. `clicks` are in order of time, then id, without the copies among them, which are in `copies`. `positions`
 * has the index of each click among all of the batch, or is `null` if they already came in that order.
 */
export function dedupeBatch(batch: readonly ReadRecord[]) {
  const found: ReadClick[] = [];
  const unreadable = new Map<string, Unreadable>();
  const watermarks: ReadWatermark[] = [];
  let isSorted = true;
  let latest: ReadClick | null = null;
  for (const record of batch) {
    if (record.is === 'watermark') watermarks.push(record);
    else if (record.is === 'unreadable') unreadable.set(identityOf(record), record);
    else {
      isSorted &&= latest === null || compareClicks(record.click, latest.click) > 0;
      latest = record;
      found.push(record);
    }
  }
  const others = { unreadable: [...unreadable.values()], watermarks };
  if (isSorted) return { clicks: found, copies: [], positions: null, ...others };
  const { positions, copies } = sortedPositions(found);
  const at = (position: number) => found[position] ?? [];
  return { clicks: positions.flatMap(at), copies: copies.flatMap(at), positions, ...others };
}

/** The indexes of clicks in order of their ids. Of copies it keeps the first that has a record key, because a key settles a sequence. */
function sortedPositions(clicks: readonly ReadClick[]): { positions: number[]; copies: number[] } {
  const at = (position: number) => clicks[position] as ReadClick;
  const keylessAt = (position: number) => (at(position).from === null ? 1 : 0);
  let hasCopies = false;
  // A batch consists of sorted runs, which this sort merges with little more than one comparison for each click.
  const positions = clicks.map((_, position) => position);
  positions.sort((a, b) => {
    const order = compareClicks(at(a).click, at(b).click);
    if (order !== 0) return order;
    hasCopies = true;
    return keylessAt(a) - keylessAt(b) || a - b;
  });
  if (!hasCopies) return { positions, copies: [] };
  const isCopy = (position: number, index: number) =>
    index > 0 && compareClicks(at(position).click, at(positions[index - 1] ?? position).click) === 0;
  return {
    positions: positions.filter((position, index) => !isCopy(position, index)),
    copies: positions.filter(isCopy),
  };
}
