import { counted } from '../../common/counted.ts';
import { type Connection, inTransaction, type Pool } from '../../common/postgres/postgres.ts';
import type { ReadRecord } from '../../contract/click-event.ts';
import { BEGIN_SNAPSHOT } from '../ledger-window.ts';
import { NIL_SPOOL_ID, readSpoolCounters, type SpoolCounters } from '../spools/counters.ts';
import {
  countSequences,
  formatMultirange,
  SequenceCollector,
  type Sequences,
  subtractSequences,
  uniteSequences,
} from '../spools/sequence-ranges.ts';
import type { ProblemKind, ReconciliationProblem } from './problem.ts';
import { compareCampaignDays } from './recount-campaign-days.ts';
import { type Recount, recountLedger } from './recount-ledger.ts';

/** A broker's backlog, as reconciliation reads it. */
export type Backlog = {
  /** Whether the backlog is in the same database, so that the connection's snapshot includes it. Only then its watermarks are counted. */
  readonly isInSnapshot: boolean;
  /**
   * Reads the waiting records in batches: from the checkpoints in the connection's snapshot up to the end of the broker, now or later. Some
   * of them may be settled already.
   */
  readonly readWaiting: (
    connection: Connection,
    take: (records: readonly ReadRecord[]) => Promise<void>,
  ) => Promise<void>;
};

/** The reconciliation of one spool. Numbers are counts of clicks. */
export type SpoolReconciliation = {
  readonly spoolId: string;
  /** Its highest watermark, plus the clicks above it that are in the ledger or the broker. */
  readonly accepted: number;
  readonly charged: number;
  readonly overBudget: number;
  readonly invalid: number;
  readonly rejected: number;
  /** In the broker and not settled yet. */
  readonly inFlight: number;
  /** Accepted, and neither settled nor in the broker. */
  readonly missing: number;
  /** The missing sequences. */
  readonly gaps: Sequences;
  readonly balanced: boolean;
};

/** The reconciliation of one advertiser. Amounts in micros of its currency. */
export type AdvertiserReconciliation = {
  readonly id: number;
  readonly name: string;
  readonly currency: string;
  readonly budgetMicros: bigint;
  /** The sum of the budget entries. */
  readonly enteredMicros: bigint;
  readonly spentMicros: bigint;
  /** The sum of the charges in the ledger; `null` without `deep`. */
  readonly chargedMicros: bigint | null;
  readonly remainingMicros: bigint;
  readonly balanced: boolean;
};

/** The result of `reconcile`. Numbers are counts of clicks over all spools. */
export type Reconciliation = {
  readonly accepted: number;
  readonly charged: number;
  readonly overBudget: number;
  readonly invalid: number;
  readonly rejected: number;
  readonly inFlight: number;
  readonly missing: number;
  /** Settled clicks without a spool id. They are not part of `accepted`. */
  readonly unattributed: number;
  readonly balanced: boolean;
  readonly spools: readonly SpoolReconciliation[];
  readonly advertisers: readonly AdvertiserReconciliation[];
  /** One sentence for each disagreement; empty if `balanced`. */
  readonly problems: readonly string[];
};

/**
 * Reconciles the ledger: checks that every accepted click is settled once, in flight or missing, that every budget equals its entries, and that
 * what remains is the budget minus what is spent. Each number has its own source: accepted from the watermarks, settled from the spool
 * counters, in flight from the broker, missing from the sequences that are in neither. `deep` also recounts the ledger row by row and
 * compares every stored sum, such as what is spent, with it.
 *
 * It reads one snapshot of the database, checkpoints included, and then the brokers, so the result is exact while clicks are charged.
 */
export function reconcile(
  pool: Pool,
  { brokers, deep = false }: { brokers: readonly Backlog[]; deep?: boolean },
): Promise<Reconciliation> {
  return inTransaction(
    pool,
    async (connection) => {
      const counters = await readSpoolCounters(connection);
      const inFlight = await readInFlight(connection, brokers);
      const spools = reconcileSpools(counters, inFlight);
      const recount = deep ? await recountLedger(connection) : null;
      const advertisers = await readAdvertisers(connection, recount);
      const problems: ReconciliationProblem[] = [
        ...spools.filter((reconciliation) => !reconciliation.balanced).map(describeImbalance),
        ...advertisers.filter((reconciliation) => !reconciliation.balanced).map(describeAdvertiserImbalance),
        ...(await compareCampaignDays(connection)),
        ...(recount ? await compareRecount(connection, recount, counters) : []),
      ];
      const sum = (pick: (reconciliation: SpoolReconciliation) => number) =>
        spools.reduce((total, reconciliation) => total + pick(reconciliation), 0);
      const unattributed = counters.get(NIL_SPOOL_ID);
      return {
        accepted: sum((reconciliation) => reconciliation.accepted),
        charged: sum((reconciliation) => reconciliation.charged),
        overBudget: sum((reconciliation) => reconciliation.overBudget),
        invalid: sum((reconciliation) => reconciliation.invalid),
        rejected: sum((reconciliation) => reconciliation.rejected),
        inFlight: sum((reconciliation) => reconciliation.inFlight),
        missing: sum((reconciliation) => reconciliation.missing),
        unattributed: unattributed ? countSettled(unattributed) : 0,
        balanced: problems.length === 0,
        spools,
        advertisers,
        problems,
      };
    },
    BEGIN_SNAPSHOT,
  );
}

/** Clicks settled with any outcome. */
function countSettled({ charged, overBudget, invalid, rejected }: Outcomes): number {
  return charged + overBudget + invalid + rejected;
}

type InFlight = { readonly sequences: SequenceCollector; accepted: number };

/** Reads the backlogs, by spool id. Some records may be settled: lanes commit independently, and checkpoints are written later. */
async function readInFlight(
  connection: Connection,
  brokers: readonly Backlog[],
): Promise<Map<string, InFlight>> {
  const found = new Map<string, InFlight>();
  const inFlightOf = (spoolId: string): InFlight => {
    const inFlight = found.get(spoolId) ?? { sequences: new SequenceCollector(), accepted: 0 };
    found.set(spoolId, inFlight);
    return inFlight;
  };
  for (const broker of brokers) {
    await broker.readWaiting(connection, async (records) => {
      for (const record of records) {
        if (record.is === 'watermark') {
          // Partitions are read one after the other: a watermark can cover clicks that were published to a partition after that was read.
          // They would count as missing.
          if (!broker.isInSnapshot) continue;
          const inFlight = inFlightOf(record.spoolId);
          inFlight.accepted = Math.max(inFlight.accepted, record.accepted);
        } else if (record.from !== null) inFlightOf(record.from.spoolId).sequences.add(record.from.sequence);
      }
    });
  }
  return found;
}

function reconcileSpools(
  counters: ReadonlyMap<string, SpoolCounters>,
  waiting: ReadonlyMap<string, InFlight>,
): SpoolReconciliation[] {
  const spools = new Set([...counters.keys(), ...waiting.keys()]);
  spools.delete(NIL_SPOOL_ID);
  return [...spools].sort().map((spoolId) => {
    const counter = counters.get(spoolId);
    const { charged = 0, overBudget = 0, invalid = 0, rejected = 0, settled = [] } = counter ?? {};
    // Copies of settled clicks are not in flight.
    const inFlight = subtractSequences(waiting.get(spoolId)?.sequences.collected() ?? [], settled);
    const known = uniteSequences(settled, inFlight);
    // All clicks up to the watermark were published, so the unknown ones are missing. Clicks above it may not be published yet.
    const watermark = Math.max(counter?.accepted ?? 0, waiting.get(spoolId)?.accepted ?? 0);
    const belowWatermark = [{ start: 1, end: watermark + 1 }];
    const accepted = watermark + countSequences(subtractSequences(known, belowWatermark));
    const gaps = subtractSequences(belowWatermark, known);
    const missing = countSequences(gaps);
    const accounted =
      countSettled({ charged, overBudget, invalid, rejected }) + countSequences(inFlight) + missing;
    return {
      spoolId,
      accepted,
      charged,
      overBudget,
      invalid,
      rejected,
      inFlight: countSequences(inFlight),
      missing,
      gaps,
      balanced: accepted === accounted,
    };
  });
}

function describeImbalance(reconciliation: SpoolReconciliation): ReconciliationProblem {
  const { spoolId, accepted, inFlight, missing } = reconciliation;
  const found = countSettled(reconciliation) + inFlight + missing;
  return `spool ${spoolId}: ${counted(accepted, 'click')} accepted, ${found} accounted for`;
}

async function readAdvertisers(
  connection: Connection,
  recount: Recount | null,
): Promise<AdvertiserReconciliation[]> {
  const { rows } = await connection.query<Omit<AdvertiserReconciliation, 'balanced' | 'chargedMicros'>>(
    `select id, name, currency, budget_micros as "budgetMicros", coalesce(entered.micros, 0)::bigint as "enteredMicros",
       spent_micros as "spentMicros", remaining_micros as "remainingMicros"
     from advertiser
     left join (select advertiser_id, sum(amount_micros) as micros from budget_entry group by 1) entered
       on entered.advertiser_id = id
     order by id`,
  );
  return rows
    .map((row) => ({
      ...row,
      chargedMicros: recount && (recount.chargedByAdvertiser.get(row.id) ?? 0n),
    }))
    .map((row) => ({
      ...row,
      balanced:
        row.enteredMicros === row.budgetMicros &&
        row.budgetMicros - row.spentMicros === row.remainingMicros &&
        row.remainingMicros >= 0n &&
        (row.chargedMicros === null || row.chargedMicros === row.spentMicros),
    }));
}

function describeAdvertiserImbalance(reconciliation: AdvertiserReconciliation): ReconciliationProblem {
  const { id, name, budgetMicros, enteredMicros, spentMicros, chargedMicros, remainingMicros } =
    reconciliation;
  const recounted = chargedMicros === null ? '' : `, charges of the ledger ${chargedMicros}`;
  const amounts = `budget ${budgetMicros}, entries ${enteredMicros}, spent ${spentMicros}${recounted}, remaining ${remainingMicros}`;
  return `advertiser ${id} (${name}): ${amounts} micros do not agree`;
}

/** Compares the recount with every stored sum. */
async function compareRecount(
  connection: Connection,
  recount: Recount,
  counters: ReadonlyMap<string, SpoolCounters>,
): Promise<ReconciliationProblem[]> {
  const { rows: campaigns } = await connection.query<{ id: number; name: string; spent_micros: bigint }>(
    'select id, name, spent_micros from campaign where cap_micros is not null order by id',
  );
  return [
    ...describeDifferences(
      'campaign spent',
      campaigns.map(({ id, name, spent_micros }) => ({
        id: `${id} (${name})`,
        stored: `${spent_micros} micros`,
        found: `${recount.chargedByCampaign.get(id) ?? 0n} micros`,
      })),
    ),
    ...describeDifferences(
      'outcomes of spool',
      [...new Set([...counters.keys(), ...recount.spools.keys()])].sort().map((id) => ({
        id,
        stored: describeOutcomes(counters.get(id)),
        found: describeOutcomes(recount.spools.get(id)),
      })),
    ),
    ...describeDifferences(
      'sequences of spool',
      [...recount.spools]
        .filter(([id, { hasClosedDays }]) => id !== NIL_SPOOL_ID && !hasClosedDays)
        .map(([id, { sequences }]) => ({
          id,
          stored: formatMultirange(counters.get(id)?.settled ?? []),
          found: formatMultirange(sequences),
        })),
    ),
    ...recount.problems,
  ];
}

/** Most differences of one kind that are listed. */
const DIFFERENCES_MAX = 20;

function describeDifferences(
  what: ProblemKind,
  sums: readonly { id: string | number; stored: string; found: string }[],
): ReconciliationProblem[] {
  const different = sums.filter(({ stored, found }) => stored !== found);
  const lines = different
    .slice(0, DIFFERENCES_MAX)
    .map(
      ({ id, stored, found }): ReconciliationProblem =>
        `${what} ${id}: stored ${stored}, the ledger has ${found}`,
    );
  const more = different.length - lines.length;
  return more === 0 ? lines : [...lines, `${what}: and ${more} more`];
}

type Outcomes = Pick<SpoolCounters, 'charged' | 'overBudget' | 'invalid' | 'rejected'>;

function describeOutcomes({ charged, overBudget, invalid, rejected }: Outcomes = NO_CLICKS): string {
  return `${charged} charged, ${overBudget} over budget, ${invalid} invalid, ${rejected} rejected`;
}

/** For a spool without counters. */
const NO_CLICKS: Outcomes = { charged: 0, overBudget: 0, invalid: 0, rejected: 0 };
