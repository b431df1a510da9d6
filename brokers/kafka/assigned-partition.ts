import type { OffsetTracker } from '../offset-tracker.ts';

/** A partition that the group has assigned to this process. */
export class AssignedPartition {
  readonly partition: number;
  readonly abort = new AbortController();
  /** `null` until the start offset is known. */
  tracker: OffsetTracker | null = null;
  /** The next offset to read. */
  next = 0;
  /** An offset that was sought already. If the broker answers with a later one, it has no record there. */
  sought = -1;

  constructor(partition: number) {
    this.partition = partition;
  }
}
