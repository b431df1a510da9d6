type Batch = {
  readonly end: string;
  readonly oldestAt: number | null;
  readonly records: number;
  settled: boolean;
};

/**
 * Tracks the batches that were read from one partition, in order, and how far they are settled without a gap: a batch that is settled
 * before an earlier one does not move the checkpoint past that one.
 */
export class OffsetTracker {
  /** The checkpoint as this process last read or wrote it. */
  known: string;
  /** The lowest position that is not settled. */
  settledTo: string;
  private batches: Batch[] = [];

  constructor(position: string) {
    this.known = position;
    this.settledTo = position;
  }

  /**
   * Adds a batch of `records` records that reaches up to the position `end`. Call the returned function when it is settled. `oldestAt`:
   * Unix ms of its oldest click, `null` if it holds none.
   */
  add(end: string, oldestAt: number | null, records = 0): () => void {
    const batch: Batch = { end, oldestAt, records, settled: false };
    this.batches.push(batch);
    return () => {
      batch.settled = true;
      let count = 0;
      for (let next = this.batches[count]; next?.settled; next = this.batches[count]) {
        this.settledTo = next.end;
        count += 1;
      }
      this.batches.splice(0, count);
      // Of adjacent settled batches the last is enough, so that the list stays short while an early batch waits.
      const at = this.batches.indexOf(batch);
      if (at < 0) return;
      if (this.batches[at + 1]?.settled) this.batches.splice(at, 1);
      if (this.batches[at - 1]?.settled && this.batches[at]?.settled) this.batches.splice(at - 1, 1);
    };
  }

  /** Number of records that are read and not settled. */
  get records(): number {
    return this.batches.reduce((sum, { records, settled }) => sum + (settled ? 0 : records), 0);
  }

  /** Whether everything that was read is settled. */
  get isIdle(): boolean {
    return this.batches.length === 0;
  }

  /** Unix ms of the oldest click that is read and not settled; `null` if there is none. */
  get oldestAt(): number | null {
    const times = this.batches.flatMap(({ oldestAt, settled }) =>
      settled || oldestAt === null ? [] : oldestAt,
    );
    return times.length === 0 ? null : Math.min(...times);
  }
}
