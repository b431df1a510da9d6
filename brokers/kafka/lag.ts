import type { Admin } from 'kafkajs';
import type { Config } from '../../common/config/config.ts';
import { withDeadline } from '../../common/deadline.ts';
import type { TollwayError } from '../../common/errors.ts';
import type { Pool } from '../../common/postgres/postgres.ts';
import { readCheckpoints } from '../checkpoints.ts';
import { type Lag, lagOf, type PartitionLag } from '../event-source.ts';
import type { AssignedPartition } from './assigned-partition.ts';
import { kafkaSourceName, type Offsets, offsetOf, readOffsets } from './positions.ts';

/** Maximum wait for the end offsets of the partitions, in ms; then the brokers count as unreachable. */
const LAG_MS_MAX = 2_500;

/** Measures the backlog of a topic, including partitions that no processor reads. */
export class KafkaLag {
  private readonly pool: Pool;
  private readonly admin: Admin;
  private readonly config: Config;
  private readonly explain: (error: unknown) => TollwayError;
  /** The checkpoint of each partition as last read, and since when it has not moved (`performance.now()`). */
  private readonly checkpoints = new Map<number, { readonly at: number; readonly since: number }>();
  private reading: ReturnType<typeof readOffsets> | null = null;

  constructor(pool: Pool, admin: Admin, config: Config, explain: (error: unknown) => TollwayError) {
    this.pool = pool;
    this.admin = admin;
    this.config = config;
    this.explain = explain;
  }

  /** `assignedOf` returns the state of a partition that this process reads. */
  async measure(assignedOf: (partition: number) => AssignedPartition | undefined): Promise<Lag> {
    const { KAFKA_BROKERS: brokers } = this.config;
    const offsets = await withDeadline(this.readOffsets(), LAG_MS_MAX, `KAFKA_BROKERS: ${brokers.join(',')}`);
    const stored = await readCheckpoints(this.pool, kafkaSourceName(this.config)).catch((error: unknown) => {
      throw this.explain(error);
    });
    return lagOf(
      [...offsets].map(([partition, range]) => {
        const position = stored.get(String(partition)) ?? null;
        const assigned = assignedOf(partition);
        const oldestAt = assigned?.tracker?.oldestAt ?? null;
        const lag = this.measureOne(partition, range, position, oldestAt);
        return { ...lag, position, isAssigned: assigned !== undefined };
      }),
    );
  }

  private measureOne(
    partition: number,
    { low, high }: Offsets,
    position: string | null,
    oldestAt: number | null,
  ): Pick<PartitionLag, 'partition' | 'records' | 'oldestAgeSeconds'> {
    const now = performance.now();
    const at = Math.max(low, position === null ? low : offsetOf(position));
    const before = this.checkpoints.get(partition);
    // Records wait since the checkpoint stopped moving. That holds for partitions that no processor reads, too.
    const since = at < high && before?.at === at ? before.since : now;
    this.checkpoints.set(partition, { at, since });
    const ageMs = Math.max(now - since, oldestAt === null ? 0 : Date.now() - oldestAt);
    return {
      partition: String(partition),
      records: Math.max(0, high - at),
      oldestAgeSeconds: Math.max(0, ageMs) / 1_000,
    };
  }

  /** Sends no second request while the first has no answer. */
  private readOffsets(): ReturnType<typeof readOffsets> {
    this.reading ??= readOffsets(this.admin, this.config.KAFKA_TOPIC).finally(() => {
      this.reading = null;
    });
    return this.reading;
  }
}
