import type { Admin } from 'kafkajs';
import type { Config } from '../../common/config/config.ts';
import { withDeadline } from '../../common/deadline.ts';
import type { TollwayError } from '../../common/errors.ts';
import type { Pool } from '../../common/postgres/postgres.ts';
import { readCheckpoints } from '../checkpoints.ts';
import type { Lag } from '../event-source.ts';
import { kafkaSourceName, offsetOf, readOffsets } from './positions.ts';

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

  /** `oldestAt` returns the Unix ms of the oldest click that is read from a partition and not settled, or `null`. */
  async measure(oldestAt: (partition: number) => number | null): Promise<Lag> {
    const { KAFKA_BROKERS: brokers } = this.config;
    const offsets = await withDeadline(this.readOffsets(), LAG_MS_MAX, `KAFKA_BROKERS: ${brokers.join(',')}`);
    const stored = await readCheckpoints(this.pool, kafkaSourceName(this.config)).catch((error: unknown) => {
      throw this.explain(error);
    });
    const now = performance.now();
    let records = 0;
    const ages = [...offsets].map(([partition, { low, high }]) => {
      const position = stored.get(String(partition));
      const at = Math.max(low, position === undefined ? low : offsetOf(position));
      records += Math.max(0, high - at);
      const before = this.checkpoints.get(partition);
      // Records wait since the checkpoint stopped moving. That holds for partitions that no processor reads, too.
      const since = at < high && before?.at === at ? before.since : now;
      this.checkpoints.set(partition, { at, since });
      const oldest = oldestAt(partition);
      return Math.max(now - since, oldest === null ? 0 : Date.now() - oldest);
    });
    return { records, oldestAgeSeconds: Math.max(0, ...ages) / 1_000 };
  }

  /** Sends no second request while the first has no answer. */
  private readOffsets(): ReturnType<typeof readOffsets> {
    this.reading ??= readOffsets(this.admin, this.config.KAFKA_TOPIC).finally(() => {
      this.reading = null;
    });
    return this.reading;
  }
}
