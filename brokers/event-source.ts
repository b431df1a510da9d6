import type { Problem } from '../common/telemetry/problems.ts';
import type { ReadRecord } from '../contract/click-event.ts';

/** What reads one broker and drives the handler. One implementation a broker. */
export type EventSource = {
  /** Consumes until `stop`. Rejects when it can't go on: the process then ends. */
  readonly run: () => Promise<void>;
  /** Takes nothing new, and resolves when what was taken is settled and acknowledged. Safe to call again. */
  readonly stop: () => Promise<void>;
  /**
   * What waits in the broker. Rejects while the broker does not say; with the code `database`, because of the database. May take as long
   * as they do.
   */
  readonly lag: () => Promise<Lag>;
  /** Why no clicks come; empty when all is well. Asks nobody. */
  readonly problems: () => readonly Problem[];
  /** Whether the broker fails at the moment, as far as it is known. A source that has nothing to read is no failure. */
  readonly isFailing: () => boolean;
};

export type Lag = {
  /** Records that the broker holds and no checkpoint has passed. */
  readonly records: number;
  /** Age of the oldest click among them, in seconds, as far as this process knows; 0 if there are none. */
  readonly oldestAgeSeconds: number;
};

/** What takes records from a source and has them settled, in any order and across sources. */
export type BatchSink = {
  /** Resolves once there is room for more, or `signal` is aborted. To be awaited before each `submit`. */
  readonly waitForCapacity: (signal?: AbortSignal) => Promise<void>;
  /**
   * Resolves when every record is settled. Rejects with `STOPPING` if the host stops before, or if `signal` is aborted: what
   * was not yet with the handler is then dropped, and has to come again.
   */
  readonly submit: (
    records: readonly ReadRecord[],
    signal?: AbortSignal,
    options?: SubmitOptions,
  ) => Promise<void>;
  /** How often an advertiser that was blocked has become free: what was given back for it can be delivered again. */
  readonly freed?: () => number;
  /** A click of each transaction that was settled and not yet proved to be there still: see `moveCheckpoints`. */
  readonly commitProbes: () => readonly string[];
  /** Forgets commit probes: they were found, or they were lost and what they stood for is read again. */
  readonly forget: (commitProbes: readonly string[]) => void;
};

export type SubmitOptions = {
  /**
   * Whether clicks of an advertiser whose rows another session keeps locked are given back, where they would be kept until it is free:
   * `submit` then rejects with `BLOCKED` once all others are settled.
   */
  readonly abandonBlocked?: boolean;
};

/** The code of the error that says that clicks of a blocked advertiser were given back; all other records are settled. */
export const BLOCKED = 'blocked';

/** The code of the error that says that records were given back unsettled. */
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
