import type { Problem } from '../common/telemetry/problems.ts';
import type { ReadRecord } from '../contract/click-event.ts';

/** Reads records from one broker and submits them to a `BatchSink`. Each broker has one implementation. */
export type EventSource = {
  /** Consumes until `stop`. Rejects on an error that retries cannot cure; the process then ends. */
  readonly run: () => Promise<void>;
  /** Stops reading, and resolves when the records read so far are settled and acknowledged. Can be called again. */
  readonly stop: () => Promise<void>;
  /**
   * The backlog in the broker. Rejects if the broker does not answer, and with the code `database` if the database does not. Has no
   * timeout of its own.
   */
  readonly lag: () => Promise<Lag>;
  /** Why no clicks arrive; empty if nothing is wrong. Sends no request. */
  readonly problems: () => readonly Problem[];
  /** Whether the latest request to the broker failed. A source that has nothing to read does not fail. */
  readonly isFailing: () => boolean;
};

export type Lag = {
  /** Records that the broker holds and no checkpoint has passed. */
  readonly records: number;
  /** Age of the oldest click that this process knows among them, in seconds; 0 if there is none. */
  readonly oldestAgeSeconds: number;
  /**
   * The same by partition or shard. Kafka: all partitions of the topic. Kinesis: the shards that this process reads. The Postgres broker has no
   * partitions, so it has one entry, its table.
   */
  readonly partitions: readonly PartitionLag[];
};

/** The backlog of one partition or shard. */
export type PartitionLag = {
  readonly partition: string;
  readonly records: number;
  readonly oldestAgeSeconds: number;
  /** Where the next reader begins, in the format of the event source; `null` if nothing of it was read yet, or if it has no positions. */
  readonly position: string | null;
  /** Whether this process reads it. */
  readonly isAssigned: boolean;
};

/** Adds up partitions: the sum of their records and the greatest of their ages. */
export function lagOf(partitions: readonly PartitionLag[]): Lag {
  return {
    records: partitions.reduce((sum, { records }) => sum + records, 0),
    oldestAgeSeconds: Math.max(0, ...partitions.map(({ oldestAgeSeconds }) => oldestAgeSeconds)),
    partitions,
  };
}

/** Settles the records of all sources, in any order. */
export type BatchSink = {
  /** Resolves once there is capacity for more records, or `signal` is aborted. Await it before each `submit`. */
  readonly waitForCapacity: (signal?: AbortSignal) => Promise<void>;
  /**
   * Resolves when every record is settled. Rejects with `STOPPING` if the sink stops before, or if `signal` is aborted: records that the
   * handler has not received by then are dropped, and the source must read them again.
   */
  readonly submit: (
    records: readonly ReadRecord[],
    signal?: AbortSignal,
    options?: SubmitOptions,
  ) => Promise<void>;
  /** How many times a locked advertiser was unlocked. After it has grown, the source can submit abandoned clicks again. */
  readonly unlockedCount: () => number;
  /**
   * One record of each committed transaction that no checkpoint has found in the database yet: a click id, or the identity of a dead letter.
   * See `moveCheckpoints`.
   */
  readonly commitProbes: () => readonly string[];
  /** Forgets commit probes that were found, or that were lost and whose records are read again. */
  readonly forget: (commitProbes: readonly string[]) => void;
};

export type SubmitOptions = {
  /**
   * Abandons the clicks of advertisers whose rows another session keeps locked, instead of holding them: `submit` then rejects with
   * `ADVERTISER_LOCKED` once all other records are settled.
   */
  readonly abandonLocked?: boolean;
};

/** Error code: clicks of a locked advertiser were abandoned; all other records are settled. */
export const ADVERTISER_LOCKED = 'advertiser_locked';

/** Error code: the sink stopped, and records were returned unsettled. */
export const STOPPING = 'stopping';

/** Unix ms of the oldest click among records, or `null` if there is none. */
export function oldestClickAt(records: readonly ReadRecord[]): number | null {
  let oldest: number | null = null;
  for (const record of records) {
    if (record.is === 'click' && (oldest === null || record.click.clickedAt < oldest))
      oldest = record.click.clickedAt;
  }
  return oldest;
}
