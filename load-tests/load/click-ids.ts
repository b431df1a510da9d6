import { writeUuid } from '../../common/uuid.ts';

const BYTES = 16;

/** Click ids, 16 bytes each: a million of them take 16 MB. */
export class ClickIds {
  private readonly bytes: Buffer;
  private count = 0;

  /** `max` is the most that will ever be added. */
  constructor(max: number) {
    this.bytes = Buffer.allocUnsafe(max * BYTES);
  }

  get size(): number {
    return this.count;
  }

  /** Adds a canonical UUID. Throws when more come than were planned for. */
  add(id: string): void {
    if ((this.count + 1) * BYTES > this.bytes.length)
      throw new Error(`Expected at most ${this.count} click ids`);
    writeUuid(this.bytes, id, this.count * BYTES);
    this.count += 1;
  }

  /** The ids from place `from` on, at most `limit`, in the order they were added. */
  slice(from: number, limit: number): string[] {
    const ids: string[] = [];
    for (let at = from; at < Math.min(from + limit, this.count); at += 1)
      ids.push(uuidAt(this.bytes, at * BYTES));
    return ids;
  }
}

/** Clicks that were promised to be recorded, by where people were sent. */
export type RecordedClicks = { readonly toAdvertiser: ClickIds; readonly toFallback: ClickIds };

/** The canonical UUID whose 16 bytes stand at `at`. */
export function uuidAt(bytes: Buffer, at: number): string {
  const hex = bytes.toString('hex', at, at + BYTES);
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
}

/** The lowest and the highest of ids: between them the planner reads only the partitions of their days. */
export function boundsOf(ids: readonly string[]): [string | null, string | null] {
  const sorted = ids.toSorted();
  return [sorted[0] ?? null, sorted.at(-1) ?? null];
}
