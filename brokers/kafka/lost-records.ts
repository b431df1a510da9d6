import type { Admin } from 'kafkajs';
import type { Logger } from '../../common/telemetry/logger.ts';
import type { Metrics } from '../../common/telemetry/metrics.ts';
import type { AssignedPartition } from './assigned-partition.ts';
import { type Offsets, readOffsets } from './positions.ts';

/** Reports records that the broker deleted before they were read. */
export class LostRecords {
  private readonly admin: Admin;
  private readonly topic: string;
  private readonly deps: { readonly metrics: Pick<Metrics, 'brokerLost'>; readonly logger: Logger };

  constructor(admin: Admin, topic: string, deps: { metrics: Pick<Metrics, 'brokerLost'>; logger: Logger }) {
    this.admin = admin;
    this.topic = topic;
    this.deps = deps;
  }

  /** The partition goes on at the offset `first`. A gap without deleted records is harmless: transaction markers of Kafka. */
  async reportGap(assigned: AssignedPartition, first: number): Promise<void> {
    const { low = 0 } = (await this.readRange(assigned)) ?? {};
    this.report(assigned, Math.min(low, first));
  }

  /** The records from the next offset up to `end` are deleted. */
  report({ partition, next }: AssignedPartition, end: number): void {
    if (end <= next) return;
    this.deps.metrics.brokerLost.inc(end - next);
    this.deps.logger.error(
      { topic: this.topic, partition },
      `The broker has deleted records that were not read: ${end - next}, from offset ${next} on`,
    );
  }

  async readRange({ partition }: AssignedPartition): Promise<Offsets | undefined> {
    return (await readOffsets(this.admin, this.topic)).get(partition);
  }
}
