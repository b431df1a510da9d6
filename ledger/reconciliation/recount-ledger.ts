import type { Connection } from '../../common/postgres/postgres.ts';
import { DAY_MS } from '../../common/unix-time.ts';
import { uuidFloor } from '../../common/uuid.ts';
import { listPartitionDays, partitionName } from '../partitions.ts';
import { NIL_SPOOL_ID } from '../spools/counters.ts';
import { parseMultirange, type Sequences, uniteSequences } from '../spools/sequence-ranges.ts';
import type { ReconciliationProblem } from './problem.ts';
import { compareRollupDay, compareRollupSums, readRolledTo } from './recount-rollup.ts';

/** The clicks of one spool by outcome, and the sequences of those that have one. */
export type RecountedSpool = {
  charged: number;
  overBudget: number;
  invalid: number;
  rejected: number;
  sequences: Sequences;
  /** Whether a day with clicks of this spool was dropped. `sequences` then lacks the sequences of that day. */
  hasClosedDays: boolean;
};

/** The sums of the ledger's rows, the dead letters and the closed days. Amounts in micros. */
export type Recount = {
  readonly chargedByAdvertiser: ReadonlyMap<number, bigint>;
  readonly chargedByCampaign: ReadonlyMap<number, bigint>;
  /** By spool id; the nil UUID for clicks without one. */
  readonly spools: ReadonlyMap<string, RecountedSpool>;
  /** One sentence for each wrong click. */
  readonly problems: readonly ReconciliationProblem[];
};

/** Most wrong clicks of one kind that are reported for one day. */
const REPORTED_MAX = 20;

/**
 * Recounts every row of the ledger. Call it in a transaction that was begun with `BEGIN_SNAPSHOT`.
 *
 * It reads each day from its partition in a savepoint and rolls the savepoint back, which releases the locks of the partition and its
 * indexes and keeps the snapshot. A query of the parent would lock all partitions at once and can exceed PostgreSQL's lock table, which
 * holds a few thousand locks.
 */
export async function recountLedger(connection: Connection): Promise<Recount> {
  const chargedByAdvertiser = new Map<number, bigint>();
  const chargedByCampaign = new Map<number, bigint>();
  const spools = new Map<string, RecountedSpool>();
  const problems: ReconciliationProblem[] = [];
  const firstNonceDay =
    (await listPartitionDays(connection, 'spent_nonce')).at(0) ?? Number.POSITIVE_INFINITY;

  const addCharges = (rows: readonly ChargesRow[]) => {
    for (const { advertiser_id, campaign_id, micros } of rows) {
      chargedByAdvertiser.set(advertiser_id, (chargedByAdvertiser.get(advertiser_id) ?? 0n) + micros);
      chargedByCampaign.set(campaign_id, (chargedByCampaign.get(campaign_id) ?? 0n) + micros);
    }
  };
  const addSpoolRows = (rows: readonly SpoolRow[]) => {
    for (const row of rows) {
      const found = spools.get(row.spoolId) ?? noClicks();
      spools.set(row.spoolId, found);
      found.charged += row.charged;
      found.overBudget += row.over_budget;
      found.invalid += row.invalid;
      found.rejected += row.rejected;
      found.sequences = uniteSequences(found.sequences, parseMultirange(row.sequences ?? ''));
      found.hasClosedDays ||= row.closed;
    }
  };

  const rolledTo = await readRolledTo(connection);
  for (const day of await listPartitionDays(connection, 'ledger')) {
    const partition = partitionName('ledger', day);
    await connection.query('savepoint one_day');
    addCharges(await readCharges(connection, partition));
    addSpoolRows(await readSpools(connection, partition));
    problems.push(...(await findConflictingOutcomes(connection, partition, day)));
    problems.push(...(await compareRollupDay(connection, partition, day, rolledTo)));
    // A nonce is spent on the day of its creation or later, so older clicks cannot have a nonce that `spent_nonce` still has.
    if (day >= firstNonceDay)
      problems.push(...(await findUnspentNonces(connection, partition, firstNonceDay)));
    await connection.query('rollback to savepoint one_day');
  }
  addCharges(await readCharges(connection, 'closed_day'));
  addSpoolRows(await readClosedSpools(connection));
  addSpoolRows(await readRejected(connection));
  problems.push(...(await compareRollupSums(connection)));
  return { chargedByAdvertiser, chargedByCampaign, spools, problems };
}

function noClicks(): RecountedSpool {
  return { charged: 0, overBudget: 0, invalid: 0, rejected: 0, sequences: [], hasClosedDays: false };
}

type ChargesRow = { advertiser_id: number; campaign_id: number; micros: bigint };

async function readCharges(connection: Connection, table: string): Promise<ChargesRow[]> {
  const { rows } = await connection.query<ChargesRow>(
    `select advertiser_id, campaign_id, sum(charged_micros)::bigint as micros from ${table}
     where charged_micros > 0 group by advertiser_id, campaign_id`,
  );
  return rows;
}

type SpoolRow = {
  spoolId: string;
  charged: number;
  over_budget: number;
  invalid: number;
  rejected: number;
  sequences: string | null;
  closed: boolean;
};

const SEQUENCES = `range_agg(int8range(sequence, sequence, '[]')) filter (where sequence is not null)::text`;

async function readSpools(connection: Connection, partition: string): Promise<SpoolRow[]> {
  const count = (outcome: string) => `(count(*) filter (where outcome = '${outcome}'))::float8 as ${outcome}`;
  const { rows } = await connection.query<SpoolRow>(
    `select coalesce(spool_id, '${NIL_SPOOL_ID}') as "spoolId", ${count('charged')}, ${count('over_budget')}, ${count('invalid')},
       0::float8 as rejected, ${SEQUENCES} as sequences, false as closed
     from ${partition} group by 1`,
  );
  return rows;
}

async function readClosedSpools(connection: Connection): Promise<SpoolRow[]> {
  const sum = (outcome: string) =>
    `coalesce(sum(clicks) filter (where outcome = '${outcome}'), 0)::float8 as ${outcome}`;
  const { rows } = await connection.query<SpoolRow>(
    `select spool_id as "spoolId", ${sum('charged')}, ${sum('over_budget')}, ${sum('invalid')}, 0::float8 as rejected, null as sequences,
       true as closed
     from closed_day_spool group by spool_id`,
  );
  return rows;
}

async function readRejected(connection: Connection): Promise<SpoolRow[]> {
  const { rows } = await connection.query<SpoolRow>(
    `select coalesce(spool_id, '${NIL_SPOOL_ID}') as "spoolId", 0::float8 as charged, 0::float8 as over_budget, 0::float8 as invalid,
       count(*)::float8 as rejected, ${SEQUENCES} as sequences, false as closed
     from dead_letter where spool_id is not null or click_id is not null group by 1`,
  );
  return rows;
}

/**
 * Finds clicks that have both a row in the ledger and a dead letter for the same record. A producer can publish one click under several record
 * keys: each key then has an outcome of its own, so a dead letter under another key than that of the row is right, whether it waits or was
 * discarded. A redrive of it is a `duplicate`.
 */
async function findConflictingOutcomes(
  connection: Connection,
  partition: string,
  day: number,
): Promise<ReconciliationProblem[]> {
  const { rows } = await connection.query<{ click_id: string; outcome: string }>(
    `select distinct dead_letter.click_id, settled.outcome::text from dead_letter join ${partition} settled using (click_id)
     where dead_letter.click_id >= $1 and dead_letter.click_id < $2
       and not coalesce((dead_letter.spool_id, dead_letter.sequence) <> (settled.spool_id, settled.sequence), false) limit ${REPORTED_MAX}`,
    [uuidFloor(day), uuidFloor(day + DAY_MS)],
  );
  return rows.map(
    ({ click_id, outcome }): ReconciliationProblem => `click ${click_id}: both ${outcome} and rejected`,
  );
}

/**
 * Finds valid clicks whose nonce `spent_nonce` does not record as spent by them. A nonce has one row there, so of two clicks that were
 * charged for the same nonce one is found. Nonces whose day was dropped cannot be checked; they cannot be spent again either.
 */
async function findUnspentNonces(
  connection: Connection,
  partition: string,
  firstNonceDay: number,
): Promise<ReconciliationProblem[]> {
  // The lateral look-up prunes the partitions of `spent_nonce` for each row; a join would scan all of them for each day.
  const { rows } = await connection.query<{ click_id: string; nonce: string; spender: string | null }>(
    `select settled.click_id, settled.nonce, spent.click_id as spender
     from ${partition} settled
     left join lateral (select click_id from spent_nonce where spent_nonce.nonce = settled.nonce offset 0) spent on true
     where settled.nonce >= $1 and settled.outcome <> 'invalid' and spent.click_id is distinct from settled.click_id
     limit ${REPORTED_MAX}`,
    [uuidFloor(firstNonceDay)],
  );
  return rows.map(
    ({ click_id, nonce, spender }): ReconciliationProblem =>
      spender === null
        ? `nonce ${nonce}: click ${click_id} is settled, but the nonce is not recorded as spent`
        : `nonce ${nonce}: used by two settled clicks, ${click_id} and ${spender}`,
  );
}
