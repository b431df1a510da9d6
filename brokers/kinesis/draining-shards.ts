import type { Logger } from '../../common/telemetry/logger.ts';
import type { PartitionLag } from '../event-source.ts';
import type { ShardReader } from './shard-reader.ts';

/** Shards that the stream no longer has, until what was read of them is settled. No processor can read it again. */
export class DrainingShards {
  private readonly readers = new Map<ShardReader, Promise<void>>();
  private readonly logger: Logger;

  constructor(logger: Logger) {
    this.logger = logger;
  }

  get lags(): PartitionLag[] {
    return [...this.readers.keys()].map((reader) => reader.lag);
  }

  /** Ends the reading of a shard, and settles what was read of it, however long that takes. Logs what a stop leaves unsettled. */
  settle(reader: ShardReader): void {
    const settled = reader.drain().then(() => {
      this.readers.delete(reader);
      this.logLost(reader);
    });
    this.readers.set(reader, settled);
  }

  /** Resolves when all is settled, or after the sink was stopped. */
  async settled(): Promise<void> {
    await Promise.all(this.readers.values());
  }

  /** Logs that the process stops with unsettled records of a shard, if there are any. */
  logLost({ shard, tracker }: ShardReader): void {
    if (tracker.isIdle) return;
    this.logger.error(
      { shard, atMost: tracker.records },
      'The processor has stopped with unsettled records of a shard that the stream no longer has. Those of their clicks that are not charged are lost',
    );
  }
}
