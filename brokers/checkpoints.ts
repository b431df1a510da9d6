import { TollwayError } from '../common/errors.ts';
import { arrayLiteral, type Connection, type Pool } from '../common/postgres/postgres.ts';
import { isUuid, uuidFloor } from '../common/uuid.ts';
import { type LedgerWindow, readWindow } from '../ledger/ledger-window.ts';
import { groupByPartition } from '../ledger/partitions.ts';

/** A checkpoint to move: from the position this process last read or wrote, to the next. */
export type Move = { readonly partition: string; readonly known: string; readonly next: string };

/** The checkpoints of a source, by partition. */
export async function readCheckpoints(
  database: Pool | Connection,
  source: string,
): Promise<Map<string, string>> {
  const { rows } = await database.query<{ partition: string; position: string }>(
    'select partition, position from broker_checkpoint where source = $1',
    [source],
  );
  return new Map(rows.map(({ partition, position }) => [partition, position]));
}

/** Writes the first checkpoints of partitions that have none. */
export async function beginCheckpoints(
  database: Pool | Connection,
  source: string,
  positions: ReadonlyMap<string, string>,
): Promise<void> {
  await database.query(
    `insert into broker_checkpoint (source, partition, position)
     select $1, * from unnest($2::text[], $3::text[]) on conflict (source, partition) do nothing`,
    [source, [...positions.keys()], [...positions.values()]],
  );
}

export type Moved = {
  /** True if the database has lost a transaction whose commit it had confirmed. Then no checkpoint was moved. */
  readonly hasLostCommits: boolean;
  /** The checkpoint of each partition now; absent if it has none. */
  readonly positions: ReadonlyMap<string, string>;
};

/**
 * Moves checkpoints, each only if it is still `known`. A checkpoint that is neither `known` nor `next` was set by a rewind, by restoring
 * the database to an earlier time, or by another consumer. The caller must then continue reading there: everything before it is settled.
 *
 * `commitProbes` has one record of each transaction that was committed since the last call: a click id, or the identity of a dead letter,
 * which is never a UUID. A database that fails over or is restored can lose confirmed commits; then a probe is missing. A click id of a day
 * that the ledger has closed since cannot be looked up and counts as found.
 */
export async function moveCheckpoints(
  database: Pool | Connection,
  source: string,
  moves: readonly Move[],
  commitProbes: readonly string[],
): Promise<Moved> {
  const clickIds = commitProbes.filter(isUuid);
  const parameters: unknown[] = [
    source,
    moves.map((move) => move.partition),
    moves.map((move) => move.known),
    moves.map((move) => move.next),
    arrayLiteral(clickIds),
    commitProbes.filter((probe) => !isUuid(probe)),
  ];
  const settled = clickIds.length === 0 ? [] : settledAmong(await readWindow(database), clickIds, parameters);
  const { rows } = await database.query<{ partition: string | null; position: string; complete: boolean }>(
    `with wanted as (select * from unnest($2::text[], $3::text[], $4::text[]) wanted (partition, known, next)),
     probes as (
       select coalesce(bool_and(found), true) as complete from (
         select exists (
           ${[...settled, 'select from dead_letter where dead_letter.click_id = probe'].join(' union all ')}
         ) as found from unnest($5::uuid[]) probe
         union all
         select exists (select from dead_letter where identity = probe) from unnest($6::text[]) probe
       ) looked_up
     ), moved as (
       update broker_checkpoint checkpoint set position = next, moved_at = now() from wanted, probes
       where checkpoint.source = $1 and checkpoint.partition = wanted.partition and position = known and known <> next and complete
       returning checkpoint.partition, checkpoint.position
     )
     select checkpoint.partition, coalesce(moved.position, checkpoint.position) as position, complete
     from probes left join (
       broker_checkpoint checkpoint join wanted using (partition) left join moved using (partition)
     ) on checkpoint.source = $1`,
    parameters,
  );
  const found = rows.flatMap(({ partition, position }) =>
    partition === null ? [] : [[partition, position] as const],
  );
  return { hasLostCommits: rows[0]?.complete === false, positions: new Map(found) };
}

/**
 * The queries that look up a commit probe in the ledger, one for each day partition: a query of the whole table would lock every
 * partition, and with thousands of them PostgreSQL runs out of lock space.
 */
function settledAmong(
  { clickFloorMs, clickAheadMs }: LedgerWindow,
  commitProbes: readonly string[],
  parameters: unknown[],
): string[] {
  const days = groupByPartition('ledger', commitProbes, clickFloorMs, clickAheadMs).map(
    ({ name }) => `select from ${name} settled where settled.click_id = probe`,
  );
  const closed = `select where probe < $${parameters.push(uuidFloor(clickFloorMs))}::uuid`;
  return [...days, closed];
}

/** Attempts to reset checkpoints that running consumers keep moving. */
const RESET_ROUNDS_MAX = 20;

/**
 * Sets checkpoints back to the positions that `choose` returns, `null` for one that stays. Running consumers notice it and continue from
 * there. Returns the earlier positions. Throws `checkpoints_busy` if a checkpoint moved in every attempt.
 */
export async function resetCheckpoints(
  pool: Pool,
  source: string,
  choose: (partition: string, position: string) => string | null,
): Promise<Map<string, string>> {
  const earlier = new Map<string, string>();
  for (let round = 0; round < RESET_ROUNDS_MAX; round += 1) {
    const moves = [...(await readCheckpoints(pool, source))].flatMap(([partition, known]) => {
      const next = earlier.has(partition) ? null : choose(partition, known);
      return next === null ? [] : { partition, known, next };
    });
    if (moves.length === 0) return earlier;
    const { positions } = await moveCheckpoints(pool, source, moves, []);
    for (const { partition, known, next } of moves) {
      if (positions.get(partition) === next) earlier.set(partition, known);
    }
  }
  throw new TollwayError(
    'checkpoints_busy',
    `The checkpoints of ${source} moved during each of ${RESET_ROUNDS_MAX} attempts to set them back; run the command again`,
  );
}

/** Sources of brokers other than `broker` that have checkpoints: a sign that `BROKER` was switched before the old one was drained. */
export async function listOtherSources(pool: Pool, broker: string): Promise<string[]> {
  const { rows } = await pool.query<{ source: string }>(
    'select distinct source from broker_checkpoint order by 1',
  );
  return rows.map(({ source }) => source).filter((source) => !source.startsWith(`${broker} `));
}
