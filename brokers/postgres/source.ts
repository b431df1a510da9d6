import { errorCode, errorMessage } from '../../common/errors.ts';
import { arrayLiteral, failureKind, inTransaction, type Pool } from '../../common/postgres/postgres.ts';
import { backoffMs, sleep } from '../../common/process.ts';
import type { Logger } from '../../common/telemetry/logger.ts';
import { OpenProblems } from '../../common/telemetry/problems.ts';
import { ThrottledLog } from '../../common/telemetry/throttled-log.ts';
import type { ReadRecord } from '../../contract/click-event.ts';
import { type BatchSink, BLOCKED, type EventSource, type Lag, oldestClickAt } from '../event-source.ts';
import { readChunk } from './chunk.ts';

/** Chunks claimed by one statement; a claim goes on until it has enough records, or there are no more. */
const CHUNKS_PER_STATEMENT = 8;
/** Most chunks that are left where they are because they hold clicks of blocked advertisers; beyond, nothing more is claimed. */
const BLOCKED_CHUNKS_MAX = 10_000;
/** Claims held at once, so that one is read while the other is settled. */
const CLAIMS = 2;
/** Time between two looks at whether a blocked advertiser has become free, in ms. */
const BLOCKED_MS = 500;

export type PostgresSourceOptions = {
  readonly windowMs: number;
  readonly batchSize: number;
};

/**
 * Consumes the Postgres broker. A claim is a transaction that holds the row locks of its chunks while the handler
 * works in transactions of its own, and ends by marking them settled. Whoever dies lets go at once; what it had
 * charged by then comes again and is found to be a duplicate. Any number of consumers share the table.
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
  const problems = new OpenProblems();
  /** Chunks of which all is settled but clicks of blocked advertisers. Left unsettled, and read again when one becomes free. */
  const blocked = new Set<bigint>();
  let freed = 0;

  const consume = async () => {
    for (let failures = 0; !stopping.signal.aborted; ) {
      try {
        await sink.waitForCapacity(stopping.signal);
        const freedBefore = freed;
        freed = sink.unlockedCount?.() ?? 0;
        if (freed !== freedBefore) blocked.clear();
        if (blocked.size >= BLOCKED_CHUNKS_MAX) {
          problems.report(
            'postgres',
            `${blocked.size} chunks hold clicks of blocked advertisers: nothing more is claimed until one is free`,
          );
          await sleep(BLOCKED_MS, stopping.signal);
          continue;
        }
        const count = await claim(pool, sink, options.batchSize, blocked);
        failures = 0;
        problems.clear('postgres');
        log.recover();
        if (count < options.batchSize) await sleep(options.windowMs, stopping.signal);
      } catch (error) {
        if (stopping.signal.aborted) return;
        if (failureKind(error) !== 'transient') throw error;
        failures += 1;
        problems.report('postgres', errorMessage(error));
        log.fail({ problem: errorMessage(error) });
        await sleep(backoffMs(failures), stopping.signal);
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
    problems: () => problems.list(),
    isFailing: () => problems.size > 0,
  };
}

/**
 * Claims the oldest waiting chunks, `enough` records of them or a few more, has them settled, and marks them so.
 * Returns how many records they held.
 */
async function claim(pool: Pool, sink: BatchSink, enough: number, blocked: Set<bigint>): Promise<number> {
  const ids: bigint[] = [];
  const freed = sink.unlockedCount?.();
  const claimed = inTransaction(pool, async (connection) => {
    const records: ReadRecord[] = [];
    for (;;) {
      const { rows } = await connection.query<{ id: bigint; payload: Buffer }>(
        `select id, payload from broker_chunk where settled_at is null and id > $1 and id <> all($2::bigint[])
         order by id limit ${CHUNKS_PER_STATEMENT} for update skip locked`,
        [ids.at(-1) ?? 0n, arrayLiteral([...blocked])],
      );
      for (const { id, payload } of rows) {
        ids.push(id);
        records.push(...readChunk(id, payload));
      }
      if (rows.length < CHUNKS_PER_STATEMENT || records.length >= enough) break;
    }
    if (ids.length === 0) return 0;
    await sink.submit(records, undefined, { abandonBlocked: true });
    await connection.query(
      'update broker_chunk set settled_at = clock_timestamp() where id = any($1::bigint[])',
      [arrayLiteral(ids)],
    );
    return records.length;
  });
  return claimed.catch((error: unknown) => {
    if (errorCode(error) !== BLOCKED) throw error;
    // Rolled back, so the chunks wait as before. If an advertiser became free meanwhile, they are claimed again at once.
    if (sink.unlockedCount?.() === freed) for (const id of ids) blocked.add(id);
    return enough;
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
  return {
    records: Number(records),
    oldestAgeSeconds: oldest === null ? 0 : Math.max(0, Date.now() - oldest) / 1_000,
  };
}
