import { errorMessage, TollwayError } from '../common/errors.ts';
import { arrayLiteral, type Connection, type Pool } from '../common/postgres/postgres.ts';
import type { Logger } from '../common/telemetry/logger.ts';
import type { Metrics } from '../common/telemetry/metrics.ts';
import { uuidFloor } from '../common/uuid.ts';
import { partitionName } from '../ledger/partitions.ts';
import { groupIdsByDay, type LedgerWindow, readWindow } from '../ledger/store.ts';

/** A checkpoint that is to be moved: from what we believe it is, to what it shall be. */
export type Move = { readonly partition: string; readonly known: string; readonly next: string };

/** The checkpoints of a source, by partition. */
export async function readCheckpoints(
  connection: Pool | Connection,
  source: string,
): Promise<Map<string, string>> {
  const { rows } = await connection.query<{ partition: string; position: string }>(
    'select partition, position from broker_checkpoint where source = $1',
    [source],
  );
  return new Map(rows.map(({ partition, position }) => [partition, position]));
}

/** Writes the first checkpoints of partitions that have none. */
export async function beginCheckpoints(
  pool: Pool | Connection,
  source: string,
  positions: ReadonlyMap<string, string>,
): Promise<void> {
  await pool.query(
    `insert into broker_checkpoint (source, partition, position)
     select $1, * from unnest($2::text[], $3::text[]) on conflict (source, partition) do nothing`,
    [source, [...positions.keys()], [...positions.values()]],
  );
}

/** What moving checkpoints has found. */
export type Moved = {
  /** False if the database has lost commits that we were told of: then nothing was moved. */
  readonly isWhole: boolean;
  /** Where each checkpoint is now; absent: there is none. */
  readonly positions: ReadonlyMap<string, string>;
};

/**
 * Moves checkpoints, each only if it is still what we believe it is. One that is neither `known` nor `next` was set by somebody
 * else: a rewind, a database restored to an earlier time, another consumer. Reading goes on from there: all that lies before it
 * is settled.
 *
 * `commit probes` are clicks of the transactions that were settled since the last time, one of each. A database that fails over, or is
 * restored, may have lost commits that we were told of; then one of them is not there. One of a day that the ledger has closed since
 * cannot be looked up, and counts as found.
 */
export async function moveCheckpoints(
  connection: Pool | Connection,
  source: string,
  moves: readonly Move[],
  commitProbes: readonly string[],
): Promise<Moved> {
  const parameters: unknown[] = [
    source,
    moves.map((move) => move.partition),
    moves.map((move) => move.known),
    moves.map((move) => move.next),
    arrayLiteral(commitProbes),
  ];
  const settled =
    commitProbes.length === 0 ? [] : settledAmong(await readWindow(connection), commitProbes, parameters);
  const { rows } = await connection.query<{ partition: string | null; position: string; whole: boolean }>(
    `with wanted as (select * from unnest($2::text[], $3::text[], $4::text[]) wanted (partition, known, next)),
     probes as (
       select coalesce(bool_and(exists (
         ${[...settled, 'select from dead_letter where dead_letter.click_id = probe'].join(' union all ')}
       )), true) as whole
       from unnest($5::uuid[]) probe
     ), moved as (
       update broker_checkpoint checkpoint set position = next, moved_at = now() from wanted, probes
       where checkpoint.source = $1 and checkpoint.partition = wanted.partition and position = known and known <> next and whole
       returning checkpoint.partition, checkpoint.position
     )
     select checkpoint.partition, coalesce(moved.position, checkpoint.position) as position, whole
     from probes left join (
       broker_checkpoint checkpoint join wanted using (partition) left join moved using (partition)
     ) on checkpoint.source = $1`,
    parameters,
  );
  const found = rows.flatMap(({ partition, position }) =>
    partition === null ? [] : [[partition, position] as const],
  );
  return { isWhole: rows[0]?.whole ?? true, positions: new Map(found) };
}

/**
 * The queries that find a `commit probe` in the ledger. Days are named: a query of the whole ledger would lock the partitions of all days, and
 * with thousands of them PostgreSQL has no room for the locks.
 */
function settledAmong(
  { clickFloorMs, clickAheadMs }: LedgerWindow,
  commitProbes: readonly string[],
  parameters: unknown[],
): string[] {
  const days = groupIdsByDay(commitProbes, clickFloorMs, clickAheadMs).map(
    ([day]) => `select from ${partitionName('ledger', day)} settled where settled.click_id = probe`,
  );
  const closed = `select where probe < $${parameters.push(uuidFloor(clickFloorMs))}::uuid`;
  return [...days, closed];
}

/** Time between two warnings that checkpoints cannot be moved, in ms. */
const WARN_MS = 30_000;

/**
 * Says when the checkpoints of a source cannot be moved: a warning at once and then every 30 s, a metric, and the recovery. No click is
 * lost by it, and none is charged twice; but a restart reads again from where they stand, and what the broker deletes meanwhile is gone.
 */
export class CheckpointReport {
  private readonly metrics: Pick<Metrics, 'checkpointFailures'>;
  private readonly logger: Logger;
  private failures = 0;
  private warnedAt = Number.NEGATIVE_INFINITY;

  constructor({ metrics, logger }: { metrics: Pick<Metrics, 'checkpointFailures'>; logger: Logger }) {
    this.metrics = metrics;
    this.logger = logger;
  }

  failed(error: unknown): void {
    this.metrics.checkpointFailures.inc();
    this.failures += 1;
    if (performance.now() - this.warnedAt < WARN_MS) return;
    this.warnedAt = performance.now();
    this.logger.warn(
      { problem: errorMessage(error), failures: this.failures },
      'Checkpoints cannot be moved: clicks are charged all the same, and a restart would read them again; it is tried again',
    );
  }

  moved(): void {
    if (this.failures > 0) this.logger.info({ failures: this.failures }, 'Checkpoints are moved again');
    this.failures = 0;
    this.warnedAt = Number.NEGATIVE_INFINITY;
  }
}

/** How often a checkpoint that moves under our hands is looked at again. */
const TURNS_MAX = 20;

/**
 * Turns checkpoints back to what `choose` says of each, `null` for one that stays. Running consumers notice, and go on from
 * there. Answers the positions they had. Throws `busy` if one moved faster than it could be turned.
 */
export async function resetCheckpoints(
  pool: Pool,
  source: string,
  choose: (partition: string, position: string) => string | null,
): Promise<Map<string, string>> {
  const turned = new Map<string, string>();
  for (let turn = 0; turn < TURNS_MAX; turn += 1) {
    const moves = [...(await readCheckpoints(pool, source))].flatMap(([partition, known]) => {
      const next = turned.has(partition) ? null : choose(partition, known);
      return next === null ? [] : { partition, known, next };
    });
    if (moves.length === 0) return turned;
    const { positions } = await moveCheckpoints(pool, source, moves, []);
    for (const { partition, known, next } of moves) {
      if (positions.get(partition) === next) turned.set(partition, known);
    }
  }
  throw new TollwayError(
    'checkpoints_busy',
    `The checkpoints of ${source} move too fast to be reset: try again`,
  );
}

type Taken = {
  readonly end: string;
  readonly oldestAt: number | null;
  readonly records: number;
  settled: boolean;
};

/**
 * What was taken of one partition, in order, and how far it is settled without a gap: a batch that overtakes another does
 * not carry the checkpoint past it.
 */
export class OffsetTracker {
  /** What the table of checkpoints holds, as far as we know. */
  known: string;
  /** The lowest position that is not settled. */
  settledTo: string;
  private taken: Taken[] = [];

  constructor(position: string) {
    this.known = position;
    this.settledTo = position;
  }

  /** Notes that everything up to `end` was taken, so many records; the answer notes that it is settled. */
  take(end: string, oldestAt: number | null, records = 0): () => void {
    const taken: Taken = { end, oldestAt, records, settled: false };
    this.taken.push(taken);
    return () => {
      taken.settled = true;
      let count = 0;
      for (let next = this.taken[count]; next?.settled; next = this.taken[count]) {
        this.settledTo = next.end;
        count += 1;
      }
      this.taken.splice(0, count);
      // Of settled neighbours the last says all: what waits for long before them must not make this grow.
      const at = this.taken.indexOf(taken);
      if (at < 0) return;
      if (this.taken[at + 1]?.settled) this.taken.splice(at, 1);
      if (this.taken[at - 1]?.settled && this.taken[at]?.settled) this.taken.splice(at - 1, 1);
    };
  }

  /** Records that were taken and are not settled. */
  get records(): number {
    return this.taken.reduce((sum, { records, settled }) => sum + (settled ? 0 : records), 0);
  }

  /** Whether all that was taken is settled. */
  get isIdle(): boolean {
    return this.taken.length === 0;
  }

  /** Unix ms of the oldest click that was taken and is not settled; `null` if there is none. */
  get oldestAt(): number | null {
    const times = this.taken.flatMap(({ oldestAt, settled }) =>
      settled || oldestAt === null ? [] : oldestAt,
    );
    return times.length === 0 ? null : Math.min(...times);
  }
}

/** Topics and streams of brokers other than `broker` that have checkpoints: somebody may have switched too early. */
export async function listOtherSources(pool: Pool, broker: string): Promise<string[]> {
  const { rows } = await pool.query<{ source: string }>(
    'select distinct source from broker_checkpoint order by 1',
  );
  return rows.map(({ source }) => source).filter((source) => !source.startsWith(`${broker} `));
}
