import { counted } from '../common/counted.ts';
import { type Connection, inTransaction, type Pool } from '../common/postgres/postgres.ts';
import type { ReadRecord } from '../contract/click-event.ts';
import { type Recount, recountLedger } from './recount-ledger.ts';
import {
  countSequences,
  formatMultirange,
  type Sequences,
  sequencesOf,
  subtractSequences,
  uniteSequences,
} from './sequence-ranges.ts';
import { NIL_SPOOL_ID, readSpoolCounters, type SpoolCounters } from './spool-counters.ts';
import { BEGIN_SNAPSHOT } from './store.ts';

/** What reconciliation reads of a broker. */
export type Backlog = {
  /** Whether it lies in the database, so that the snapshot of a connection holds it: its watermarks then say what was accepted by that time. */
  readonly isInSnapshot: boolean;
  /**
   * Reads all that waits, in batches: what no checkpoint of the connection's snapshot has passed, up to what is there now or later. Some
   * of it may be settled already.
   */
  readonly readWaiting: (
    connection: Connection,
    take: (records: readonly ReadRecord[]) => Promise<void>,
  ) => Promise<void>;
};

/** One spool's part of the books. All but `gaps` are counts of clicks. */
export type SpoolReconciliation = {
  readonly spoolId: string;
  /** What its last watermark says, and those that the ledger or the broker knows of above it. */
  readonly accepted: number;
  readonly charged: number;
  readonly overBudget: number;
  readonly invalid: number;
  readonly rejected: number;
  /** With the broker and not yet settled. */
  readonly inFlight: number;
  /** Accepted, and neither settled nor with the broker. */
  readonly missing: number;
  /** The sequences that are missing. */
  readonly gaps: Sequences;
  readonly balanced: boolean;
};

export type AdvertiserReconciliation = {
  readonly id: number;
  readonly name: string;
  readonly currency: string;
  readonly budgetMicros: bigint;
  /** The budget entries, summed anew. */
  readonly enteredMicros: bigint;
  readonly spentMicros: bigint;
  /** The ledger, summed anew; only with `deep`. */
  readonly chargedMicros: bigint | null;
  readonly remainingMicros: bigint;
  readonly balanced: boolean;
};

export type Reconciliation = {
  readonly accepted: number;
  readonly charged: number;
  readonly overBudget: number;
  readonly invalid: number;
  readonly rejected: number;
  readonly inFlight: number;
  readonly missing: number;
  /** Clicks without a spool id, settled: outside the identity. */
  readonly unattributed: number;
  readonly balanced: boolean;
  readonly spools: readonly SpoolReconciliation[];
  readonly advertisers: readonly AdvertiserReconciliation[];
  /** What does not agree, in words; empty when `balanced`. */
  readonly problems: readonly string[];
};

/**
 * Asks the books: is every accepted click settled once, with the broker, or missing, and does every budget agree with its
 * entries and charges? Every term is counted by itself: what was accepted by the watermarks, what was settled by the
 * counters, what is in flight by reading the broker, what is missing as the set of numbers that are in neither.
 * `deep` also recounts the ledger row by row against every sum that is kept.
 *
 * Reads one snapshot of the database, checkpoints included, and then the brokers: so it is exact under full traffic.
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
      const problems = [
        ...spools.filter((reconciliation) => !reconciliation.balanced).map(describeImbalance),
        ...advertisers.filter((reconciliation) => !reconciliation.balanced).map(describeAdvertiserImbalance),
        ...(recount ? await compareRecount(connection, recount, counters) : []),
      ];
      const sum = (pick: (reconciliation: SpoolReconciliation) => number) =>
        spools.reduce((total, reconciliation) => total + pick(reconciliation), 0);
      const loose = counters.get(NIL_SPOOL_ID);
      return {
        accepted: sum((reconciliation) => reconciliation.accepted),
        charged: sum((reconciliation) => reconciliation.charged),
        overBudget: sum((reconciliation) => reconciliation.overBudget),
        invalid: sum((reconciliation) => reconciliation.invalid),
        rejected: sum((reconciliation) => reconciliation.rejected),
        inFlight: sum((reconciliation) => reconciliation.inFlight),
        missing: sum((reconciliation) => reconciliation.missing),
        unattributed: loose ? loose.charged + loose.overBudget + loose.invalid + loose.rejected : 0,
        balanced: problems.length === 0,
        spools,
        advertisers,
        problems,
      };
    },
    BEGIN_SNAPSHOT,
  );
}

type InFlight = { sequences: number[]; accepted: number };

/** What waits with the brokers, by spool. Some of it may be settled: lanes commit one by one, and a checkpoint follows later. */
async function readInFlight(
  connection: Connection,
  brokers: readonly Backlog[],
): Promise<Map<string, InFlight>> {
  const found = new Map<string, InFlight>();
  const of = (spoolId: string): InFlight => {
    const known = found.get(spoolId) ?? { sequences: [], accepted: 0 };
    found.set(spoolId, known);
    return known;
  };
  for (const broker of brokers) {
    await broker.readWaiting(connection, async (records) => {
      for (const record of records) {
        if (record.is === 'watermark') {
          // A watermark is sent when all below it is published: it says nothing of what was read before it was.
          if (!broker.isInSnapshot) continue;
          const spoolId = of(record.spoolId);
          spoolId.accepted = Math.max(spoolId.accepted, record.accepted);
        } else if (record.from !== null) of(record.from.spoolId).sequences.push(record.from.sequence);
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
    // A copy of what is settled waits for nothing.
    const inFlight = subtractSequences(sequencesOf(waiting.get(spoolId)?.sequences ?? []), settled);
    const known = uniteSequences(settled, inFlight);
    // Up to the watermark all is published, so what is not known is missing. Above it clicks are still on their way.
    const watermark = Math.max(counter?.accepted ?? 0, waiting.get(spoolId)?.accepted ?? 0);
    const belowWatermark = [{ start: 1, end: watermark + 1 }];
    const accepted = watermark + countSequences(subtractSequences(known, belowWatermark));
    const gaps = subtractSequences(belowWatermark, known);
    const missing = countSequences(gaps);
    const counted = charged + overBudget + invalid + rejected + countSequences(inFlight) + missing;
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
      balanced: accepted === counted,
    };
  });
}

function describeImbalance(reconciliation: SpoolReconciliation): string {
  const { spoolId, accepted, charged, overBudget, invalid, rejected, inFlight, missing } = reconciliation;
  const found = charged + overBudget + invalid + rejected + inFlight + missing;
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

function describeAdvertiserImbalance(reconciliation: AdvertiserReconciliation): string {
  const { id, budgetMicros, enteredMicros, spentMicros, chargedMicros, remainingMicros } = reconciliation;
  const recounted = chargedMicros === null ? '' : `, charges of the ledger ${chargedMicros}`;
  return (
    `advertiser ${id}: budget ${budgetMicros}, entries ${enteredMicros}, spent ${spentMicros}${recounted}, ` +
    `remaining ${remainingMicros} micros do not agree`
  );
}

/** Compares the recounted rows with every sum that is kept. */
async function compareRecount(
  connection: Connection,
  recount: Recount,
  counters: ReadonlyMap<string, SpoolCounters>,
): Promise<string[]> {
  const { rows: campaigns } = await connection.query<{ id: number; spent_micros: bigint }>(
    'select id, spent_micros from campaign where cap_micros is not null order by id',
  );
  return [
    ...describeDifferences(
      'campaign spent',
      campaigns.map(({ id, spent_micros }) => ({
        id,
        kept: `${spent_micros} micros`,
        found: `${recount.chargedByCampaign.get(id) ?? 0n} micros`,
      })),
    ),
    ...describeDifferences(
      'outcomes of spool',
      [...new Set([...counters.keys(), ...recount.spools.keys()])].sort().map((id) => ({
        id,
        kept: describeOutcomes(counters.get(id)),
        found: describeOutcomes(recount.spools.get(id)),
      })),
    ),
    ...describeDifferences(
      'sequences of spool',
      [...recount.spools]
        .filter(([id, { hasClosedDays }]) => id !== NIL_SPOOL_ID && !hasClosedDays)
        .map(([id, { sequences }]) => ({
          id,
          kept: formatMultirange(counters.get(id)?.settled ?? []),
          found: formatMultirange(sequences),
        })),
    ),
    ...recount.problems,
  ];
}

/** Most differences of one kind that are named. */
const DIFFERENCES_MAX = 20;

function describeDifferences(
  what: string,
  sums: readonly { id: string | number; kept: string; found: string }[],
): string[] {
  const different = sums.filter(({ kept, found }) => kept !== found);
  const lines = different
    .slice(0, DIFFERENCES_MAX)
    .map(({ id, kept, found }) => `${what} ${id}: kept ${kept}, the ledger has ${found}`);
  const more = different.length - lines.length;
  return more === 0 ? lines : [...lines, `${what}: and ${more} more`];
}

type Outcomes = Pick<SpoolCounters, 'charged' | 'overBudget' | 'invalid' | 'rejected'>;

function describeOutcomes({ charged, overBudget, invalid, rejected }: Outcomes = NO_CLICKS): string {
  return `${charged} charged, ${overBudget} over budget, ${invalid} invalid, ${rejected} rejected`;
}

const NO_CLICKS: Outcomes = { charged: 0, overBudget: 0, invalid: 0, rejected: 0 };
