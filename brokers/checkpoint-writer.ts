import pLimit from 'p-limit';
import { errorMessage } from '../common/errors.ts';
import type { Pool } from '../common/postgres/postgres.ts';
import type { Logger } from '../common/telemetry/logger.ts';
import type { Metrics } from '../common/telemetry/metrics.ts';
import { ThrottledLog } from '../common/telemetry/throttled-log.ts';
import { moveCheckpoints } from './checkpoints.ts';
import type { BatchSink } from './event-source.ts';
import type { OffsetTracker } from './offset-tracker.ts';

/** Why a source reads a partition from its checkpoint again. */
export type RestartReason =
  | 'The checkpoint was set back (a rewind, or a restored database)'
  | 'The database has lost commits'
  | 'The topic was created again'
  | 'another processor has moved the checkpoint';

/** How far one partition is settled. `Reader` is the source's object for it. */
export type SettledPartition<Reader> = {
  readonly reader: Reader;
  readonly partition: string;
  readonly tracker: OffsetTracker;
  /** The position to move the checkpoint to. */
  readonly next: string;
};

export type CheckpointWriterDeps = {
  readonly metrics: Pick<Metrics, 'checkpointFailures'>;
  readonly logger: Logger;
  /** Whether a checkpoint lies before `known`, or was deleted (`undefined`). */
  readonly isSetBack: (position: string | undefined, known: string) => boolean;
};

/**
 * Moves the checkpoints of a source up to the settled positions, and reports the partitions that must be read from their checkpoint again.
 *
 * It logs and counts checkpoints that cannot be moved. No click is lost or charged twice by that; but a restart reads more records again, and
 * the broker can delete unread ones in the meantime.
 */
export class CheckpointWriter {
  /** Runs checkpoints one at a time. Each of two concurrent ones would take the other's move for that of another processor. */
  readonly exclusive = pLimit(1);
  private readonly pool: Pool;
  private readonly sink: Pick<BatchSink, 'commitProbes' | 'forget'>;
  private readonly deps: CheckpointWriterDeps;
  private readonly log: ThrottledLog;

  constructor(pool: Pool, sink: Pick<BatchSink, 'commitProbes' | 'forget'>, deps: CheckpointWriterDeps) {
    this.pool = pool;
    this.sink = sink;
    this.deps = deps;
    this.log = new ThrottledLog(deps.logger, {
      failed:
        'Checkpoints cannot be moved and are retried. Charging does not wait for them; after a restart clicks are read again, as duplicates',
      recovered: 'Checkpoints are moved again',
    });
  }

  /** Call inside `exclusive`. Does not throw: the next checkpoint covers what this one could not write. */
  async move<Reader>(
    source: string,
    partitions: readonly SettledPartition<Reader>[],
    restart: (reader: Reader, position: string | undefined, reason: RestartReason) => void,
  ): Promise<void> {
    const moves = partitions.map(({ partition, tracker: { known }, next }) => ({ partition, known, next }));
    try {
      const commitProbes = this.sink.commitProbes();
      const { hasLostCommits, positions } = await moveCheckpoints(this.pool, source, moves, commitProbes);
      this.sink.forget(commitProbes);
      this.log.recover();
      for (const [index, { reader, tracker, partition, next }] of partitions.entries()) {
        const known = moves[index]?.known ?? tracker.known;
        const position = positions.get(partition);
        if (hasLostCommits) restart(reader, position, 'The database has lost commits');
        else if (position === next) tracker.known = next;
        else if (position !== known) restart(reader, position, this.reasonFor(position, known));
      }
    } catch (error) {
      this.deps.metrics.checkpointFailures.inc();
      this.log.fail({ problem: errorMessage(error) });
    }
  }

  private reasonFor(position: string | undefined, known: string): RestartReason {
    return this.deps.isSetBack(position, known)
      ? 'The checkpoint was set back (a rewind, or a restored database)'
      : 'another processor has moved the checkpoint';
  }
}

/** Logs that a partition is read from its checkpoint again; at level `debug` if another processor has continued it. */
export function reportRestart(
  logger: Logger,
  partition: string,
  position: string | undefined,
  reason: RestartReason,
): void {
  if (reason === 'another processor has moved the checkpoint') logger.debug({ partition, position }, reason);
  else logger.warn({ partition, position }, `${reason}: the processor reads from the checkpoint again`);
}
