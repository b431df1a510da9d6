/**
 * Consecutive records that go to the same partition. Any partition is correct for any click, and few large record batches take less work
 * for client and broker than many small ones.
 */
const RUN_RECORDS = 250;

/** Assigns records to partitions in runs. */
export class PartitionRuns {
  private count = 0;
  private run = Math.floor(Math.random() * 1_000);
  private partition: number | null = null;

  /** Returns the partition of the next record, one of `withLeader`; 0 if there are none. */
  next(withLeader: () => readonly number[]): number {
    if (this.partition === null || this.count === RUN_RECORDS) {
      const choices = withLeader();
      this.run += 1;
      this.count = 0;
      this.partition = choices[this.run % choices.length] ?? 0;
    }
    this.count += 1;
    return this.partition;
  }

  /** Ends the run. Called after a failure, which the partition of the run can have caused. */
  end(): void {
    this.partition = null;
  }
}
