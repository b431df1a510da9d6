import type { KinesisClient, Shard } from '@aws-sdk/client-kinesis';
import type { Config } from '../../common/config/config.ts';
import type { Pool } from '../../common/postgres/postgres.ts';
import type { Logger } from '../../common/telemetry/logger.ts';
import type { Metrics } from '../../common/telemetry/metrics.ts';
import { moveCheckpoints, readCheckpoints } from '../checkpoints.ts';
import { explainKinesis, type Stream } from './client.ts';
import { END, FIRST_RECORD, iteratorAt, kinesisSourceName, readUntil } from './positions.ts';
import type { ShardLeases } from './shard-leases.ts';

export type ExpiredShardsDeps = {
  readonly pool: Pool;
  readonly client: KinesisClient;
  readonly config: Config;
  readonly metrics: Pick<Metrics, 'brokerLost'>;
  readonly logger: Logger;
};

/**
 * Moves the checkpoints of shards that the stream no longer has to their end, and reports those with records that may have expired unread.
 * Kinesis forgets a closed shard when its last record expires: if no processor ran for so long, nothing else would tell the loss. `shards`:
 * those that the stream lists; `positions`: the checkpoints.
 */
export async function endExpiredShards(
  stream: Stream,
  leases: ShardLeases,
  shards: readonly Shard[],
  positions: ReadonlyMap<string, string>,
  { pool, client, config, metrics, logger }: ExpiredShardsDeps,
): Promise<void> {
  const source = kinesisSourceName(stream);
  const listed = new Set(shards.map(({ ShardId }) => ShardId));
  for (const [shard, position] of positions) {
    if (listed.has(shard) || position === END || leases.held.has(shard)) continue;
    // A processor that reads a shard holds its lease, and settles what it has read.
    if (!(await leases.acquire(shard))) continue;
    try {
      const known = (await readCheckpoints(pool, source)).get(shard) ?? END;
      // A list can lack a shard by mistake, and its records would be skipped: the shard itself is asked for.
      if (known === END || (await hasShard(client, config, shard))) continue;
      const { positions: moved } = await moveCheckpoints(
        pool,
        source,
        [{ partition: shard, known, next: END }],
        [],
      );
      if (moved.get(shard) !== END || !mayHaveExpiredUnread(known, stream)) continue;
      metrics.brokerLost.inc();
      logger.error(
        { shard, position: known },
        'The shard has expired before it was read to its end; some records may be deleted unread',
      );
    } finally {
      await leases.release(shard);
    }
  }
}

/** Whether records after a position can be older than the retention. Those of an expired shard all are, so a younger position was its end. */
function mayHaveExpiredUnread(position: string, { retentionMs }: Stream): boolean {
  const until = readUntil(position);
  return until === null || Date.now() - until.getTime() > retentionMs;
}

async function hasShard(client: KinesisClient, config: Config, shard: string): Promise<boolean> {
  try {
    await iteratorAt(client, config.KINESIS_STREAM, shard, FIRST_RECORD);
    return true;
  } catch (error) {
    if (explainKinesis(error, config).code === 'kinesis_stream') return false;
    throw error;
  }
}
