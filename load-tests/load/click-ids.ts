import { writeUuid } from '../../common/uuid.ts';

const BYTES = 16;

/** A list of click ids with 16 bytes per id: a million ids take 16 MB. */
export class ClickIds {
  private readonly bytes: Buffer;
  private count = 0;

  /** Allocates memory for at most `max` ids. */
  constructor(max: number) {
    this.bytes = Buffer.allocUnsafe(max * BYTES);
  }

  get size(): number {
    return this.count;
  }

  /** Adds a canonical UUID. Throws if the list already has `max` ids. */
  add(id: string): void {
    if ((this.count + 1) * BYTES > this.bytes.length)
      throw new Error(`Expected at most ${this.count} click ids`);
    writeUuid(this.bytes, id, this.count * BYTES);
    this.count += 1;
  }

  /** At most `limit` ids from index `from` on, in insertion order. */
  slice(from: number, limit: number): string[] {
    const ids: string[] = [];
    for (let at = from; at < Math.min(from + limit, this.count); at += 1)
      ids.push(uuidAt(this.bytes, at * BYTES));
    return ids;
  }
}

/** Click ids that the ad server confirmed as recorded, by the target of the redirect. */
export type RecordedClickIds = { readonly toAdvertiser: ClickIds; readonly toFallback: ClickIds };

/** The canonical UUID of the 16 bytes at offset `at`. */
export function uuidAt(bytes: Buffer, at: number): string {
  const hex = bytes.toString('hex', at, at + BYTES);
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
}

/** The lowest and the highest id. A query limited to this range reads only the partitions of those days. */
export function boundsOf(ids: readonly string[]): [string | null, string | null] {
  const sorted = ids.toSorted();
  return [sorted[0] ?? null, sorted.at(-1) ?? null];
}
