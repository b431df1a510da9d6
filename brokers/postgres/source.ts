import { errorCode, errorMessage } from '../../common/errors.ts';
import { arrayLiteral, failureKind, inTransaction, type Pool } from '../../common/postgres/postgres.ts';
import { backoffMs, sleep } from '../../common/process.ts';
import type { Logger } from '../../common/telemetry/logger.ts';
import { OpenProblems } from '../../common/telemetry/problems.ts';
import { ThrottledLog } from '../../common/telemetry/throttled-log.ts';
import type { ReadRecord } from '../../contract/click-event.ts';
import {
  ADVERTISER_LOCKED,
  type BatchSink,
  type EventSource,
  type Lag,
  lagOf,
  oldestClickAt,
} from '../event-source.ts';
import { readChunk } from './chunk.ts';

/** Chunks that one statement claims. A claim repeats it until it has enough records or there are no more. */
const CHUNKS_PER_STATEMENT = 8;
/** Maximum number of chunks that stay unsettled because they hold clicks of locked advertisers. At the limit, no chunk is claimed. */
const LOCKED_CHUNKS_MAX = 10_000;
/** Concurrent claims: one is read while the other is settled. */
const CLAIMS = 2;
/** Time between two checks whether a locked advertiser was unlocked, in ms. */
const UNLOCK_POLL_MS = 500;

export type PostgresSourceOptions = {
  readonly windowMs: number;
  readonly batchSize: number;
};

/**
 * Consumes the Postgres broker. A claim is a transaction that holds the row locks of its chunks while the handler charges their clicks in
 * other transactions, and then marks the chunks as settled. If the process dies, PostgreSQL releases the locks at once; clicks that were
 * charged by then are read again as duplicates. Any number of processors can share the table.
 */
export function createPostgresSource(
  pool: Pool,
  sink: BatchSink,
  options: PostgresSourceOptions,
  deps: { logger: Logger },
): EventSource {
  const stopping = new AbortController();
  let loops: Promise<void>[] = [];
  const log = new ThrottledLog(deps.logger, {
    failed: 'The processor cannot read from the database. Clicks wait there and are charged later',
    recovered: 'The processor reads from the database again',
  });
  const failures = new OpenProblems();
  /** Why it does not read although the database answers. */
  const waits = new OpenProblems();
  /** Unsettled chunks that hold clicks of locked advertisers. They are read again when an advertiser is unlocked. */
  const lockedChunks = new Set<bigint>();
  let unlockedCount = 0;

  const consume = async () => {
    for (let attempts = 0; !stopping.signal.aborted; ) {
      try {
        await sink.waitForCapacity(stopping.signal);
        const countBefore = unlockedCount;
        unlockedCount = sink.unlockedCount();
        if (unlockedCount !== countBefore) lockedChunks.clear();
        if (lockedChunks.size >= LOCKED_CHUNKS_MAX) {
          failures.clear('postgres');
          waits.report(
            'postgres',
            `${lockedChunks.size} chunks hold clicks of locked advertisers; no chunk is claimed until one is unlocked`,
          );
          await sleep(UNLOCK_POLL_MS, stopping.signal);
          continue;
        }
        waits.clear('postgres');
        const count = await claim(pool, sink, options.batchSize, lockedChunks);
        attempts = 0;
        failures.clear('postgres');
        log.recover();
        if (count < options.batchSize) await sleep(options.windowMs, stopping.signal);
      } catch (error) {
        if (stopping.signal.aborted) return;
        if (failureKind(error) !== 'transient') throw error;
        attempts += 1;
        failures.report('postgres', errorMessage(error));
        log.fail({ problem: errorMessage(error) });
        await sleep(backoffMs(attempts), stopping.signal);
      }
    }
  };

  return {
    run: async () => {
      loops = Array.from({ length: CLAIMS }, consume);
      await Promise.all(loops);
    },
    stop: async () => {
      stopping.abort();
      await Promise.allSettled(loops);
    },
    lag: () => readLag(pool),
    problems: () => [...failures.list(), ...waits.list()],
    isFailing: () => failures.size > 0,
  };
}

/**
 * Claims the oldest unsettled chunks with at least `recordsMin` records together, if there are as many, settles them, and marks them as
 * settled. Returns the number of their records, or `recordsMin` if the chunks stay unsettled because they hold clicks of locked
 * advertisers: the caller then claims the next chunks without a pause.
 */
async function claim(
  pool: Pool,
  sink: BatchSink,
  recordsMin: number,
  lockedChunks: Set<bigint>,
): Promise<number> {
  const ids: bigint[] = [];
  const unlockedCount = sink.unlockedCount();
  const claimed = inTransaction(pool, async (connection) => {
    const records: ReadRecord[] = [];
    for (;;) {
      const { rows } = await connection.query<{ id: bigint; payload: Buffer; publishedAt: Date }>(
        `select id, payload, published_at as "publishedAt" from broker_chunk where settled_at is null and id > $1 and id <> all($2::bigint[])
         order by id limit ${CHUNKS_PER_STATEMENT} for update skip locked`,
        [ids.at(-1) ?? 0n, arrayLiteral([...lockedChunks])],
      );
      for (const { id, payload, publishedAt } of rows) {
        ids.push(id);
        records.push(...readChunk(id, payload, publishedAt.getTime()));
      }
      if (rows.length < CHUNKS_PER_STATEMENT || records.length >= recordsMin) break;
    }
    if (ids.length === 0) return 0;
    await sink.submit(records, undefined, { abandonLocked: true });
    await connection.query(
      'update broker_chunk set settled_at = clock_timestamp() where id = any($1::bigint[])',
      [arrayLiteral(ids)],
    );
    return records.length;
  });
  return claimed.catch((error: unknown) => {
    if (errorCode(error) !== ADVERTISER_LOCKED) throw error;
    // The rollback leaves the chunks unsettled. If an advertiser was unlocked since, they are claimed again at once.
    if (sink.unlockedCount() === unlockedCount) for (const id of ids) lockedChunks.add(id);
    return recordsMin;
  });
}

async function readLag(pool: Pool): Promise<Lag> {
  const { rows } = await pool.query<{ records: bigint; payload: Buffer | null }>(
    `select coalesce(sum(record_count), 0)::bigint as records,
       (select payload from broker_chunk where settled_at is null order by id limit 1) as payload
     from broker_chunk where settled_at is null`,
  );
  const { records = 0n, payload = null } = rows[0] ?? {};
  const oldest = payload === null ? null : oldestClickAt(readChunk(0n, payload));
  const oldestAgeSeconds = oldest === null ? 0 : Math.max(0, Date.now() - oldest) / 1_000;
  return lagOf([
    {
      partition: 'broker_chunk',
      records: Number(records),
      oldestAgeSeconds,
      position: null,
      isAssigned: true,
    },
  ]);
}
