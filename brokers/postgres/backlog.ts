import type { Connection, Pool } from '../../common/postgres/postgres.ts';
import type { BrokerBacklog } from '../backlog.ts';
import { readChunk } from './chunk.ts';

/** Chunks that one query reads. */
const BACKLOG_CHUNKS = 20;

/** The backlog of the Postgres broker. Its chunks are part of the snapshot that reconciliation reads. */
export const postgresBacklog: BrokerBacklog = {
  isInSnapshot: true,
  readWaiting: async (connection: Connection, take) => {
    for (let after = 0n; ; ) {
      const { rows } = await connection.query<{ id: bigint; payload: Buffer }>(
        'select id, payload from broker_chunk where settled_at is null and id > $1 order by id limit $2',
        [after, BACKLOG_CHUNKS],
      );
      after = rows.at(-1)?.id ?? after;
      if (rows.length === 0) return;
      await take(rows.flatMap(({ id, payload }) => readChunk(id, payload)));
    }
  },
  rewind: async (pool, since) => {
    const { rows } = await pool.query<{ records: bigint; kept_since: Date | null; kept_from: bigint | null }>(
      `with again as (
         update broker_chunk set settled_at = null where published_at >= $1 and settled_at is not null returning record_count
       )
       select coalesce((select sum(record_count) from again), 0)::bigint as records,
         (select min(published_at) from broker_chunk) as kept_since, (select min(id) from broker_chunk) as kept_from`,
      [since],
    );
    const { records = 0n, kept_since: keptSince = null, kept_from: keptFrom = null } = rows[0] ?? {};
    // The first chunk ever has the id 1. While it exists, no chunk was deleted.
    const isDeleted = keptFrom !== null && keptFrom > 1n;
    return { records: Number(records), short: isDeleted && keptSince !== null && keptSince > since };
  },
};

/** Counts the records that wait in the Postgres broker, and returns the age of the oldest chunk in seconds; 0 if none waits. */
export async function countWaiting(pool: Pool): Promise<{ records: number; oldestSeconds: number }> {
  const { rows } = await pool.query<{ records: number; oldestSeconds: number }>(
    `select coalesce(sum(record_count), 0)::float8 as records,
       coalesce(greatest(0, extract(epoch from clock_timestamp() - min(published_at))), 0)::float8 as "oldestSeconds"
     from broker_chunk where settled_at is null`,
  );
  return rows[0] ?? { records: 0, oldestSeconds: 0 };
}
