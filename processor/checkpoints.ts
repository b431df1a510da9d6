import { TollwayError } from '../common/errors.ts';
import { arrayLiteral, type Connection, type Pool } from '../common/postgres.ts';

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
 * `witnesses` are clicks of the transactions that were settled since the last time, one of each. A database that fails over, or is
 * restored, may have lost commits that we were told of; then one of them is not there.
 */
export async function moveCheckpoints(
  pool: Pool,
  source: string,
  moves: readonly Move[],
  witnesses: readonly string[],
): Promise<Moved> {
  const { rows } = await pool.query<{ partition: string | null; position: string; whole: boolean }>({
    name: 'move checkpoints',
    text: `with wanted as (select * from unnest($2::text[], $3::text[], $4::text[]) wanted (partition, known, next)),
     witnesses as (
       select coalesce(bool_and(
         exists (select from ledger where ledger.click_id = witness)
         or exists (select from dead_letter where dead_letter.click_id = witness)), true) as whole
       from unnest($5::uuid[]) witness
     ), moved as (
       update broker_checkpoint checkpoint set position = next, moved_at = now() from wanted, witnesses
       where checkpoint.source = $1 and checkpoint.partition = wanted.partition and position = known and known <> next and whole
       returning checkpoint.partition, checkpoint.position
     )
     select checkpoint.partition, coalesce(moved.position, checkpoint.position) as position, whole
     from witnesses left join (
       broker_checkpoint checkpoint join wanted using (partition) left join moved using (partition)
     ) on checkpoint.source = $1`,
    values: [
      source,
      moves.map((move) => move.partition),
      moves.map((move) => move.known),
      moves.map((move) => move.next),
      arrayLiteral(witnesses),
    ],
  });
  const found = rows.flatMap(({ partition, position }) =>
    partition === null ? [] : [[partition, position] as const],
  );
  return { isWhole: rows[0]?.whole ?? true, positions: new Map(found) };
}

/** How often a checkpoint that moves under our hands is looked at again. */
const TURNS_MAX = 20;

/**
 * Turns checkpoints back to what `choose` says of each, `null` for one that stays. Running consumers notice, and go on from
 * there. Answers the positions they had. Throws `busy` if one moved faster than it could be turned.
 */
export async function turnBack(
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
  throw new TollwayError('busy', `The checkpoints of ${source} move too fast to be turned back: try again`);
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
export class Progress {
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
