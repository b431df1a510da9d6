import { type Connection, inTransaction, type Pool } from '../common/postgres.ts';
import type { BrokerBooks } from './broker-books.ts';
import { BEGIN_SNAPSHOT } from './ledger.ts';
import {
  countSequences,
  formatMultirange,
  type Sequences,
  sequencesOf,
  subtractSequences,
  uniteSequences,
} from './sequences.ts';
import { postgresBooks } from './sources/postgres.ts';
import { NO_ORIGIN, readTallies, type Tally } from './tally.ts';

/** One origin's part of the books. All but `gaps` are counts of clicks. */
export type OriginBooks = {
  readonly origin: string;
  /** What its last mark says, and those that the ledger or the broker knows of above it. */
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

export type AdvertiserBooks = {
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
  /** Clicks without an origin, settled: outside the identity. */
  readonly unattributed: number;
  readonly balanced: boolean;
  readonly origins: readonly OriginBooks[];
  readonly advertisers: readonly AdvertiserBooks[];
  /** What does not agree, in words; empty when `balanced`. */
  readonly problems: readonly string[];
};

/**
 * Asks the books: is every accepted click settled once, with the broker, or missing, and does every budget agree with its
 * entries and charges? Every term is counted by itself: what was accepted by the marks, what was settled by the
 * tallies, what is in flight by reading the broker, what is missing as the set of numbers that are in neither.
 * `deep` also recounts the ledger row by row against every sum that is kept.
 *
 * Reads one snapshot of the database, checkpoints included, and then the brokers: so it is exact under full traffic.
 */
export function reconcile(
  pool: Pool,
  { deep = false, brokers = [postgresBooks] }: { deep?: boolean; brokers?: readonly BrokerBooks[] } = {},
): Promise<Reconciliation> {
  return inTransaction(
    pool,
    async (connection) => {
      const tallies = await readTallies(connection);
      const inFlight = await readInFlight(connection, brokers);
      const origins = originBooks(tallies, inFlight);
      const advertisers = await readAdvertisers(connection, deep);
      const problems = [
        ...origins.filter((books) => !books.balanced).map(imbalance),
        ...advertisers.filter((books) => !books.balanced).map(advertiserImbalance),
        ...(deep ? await recount(connection, tallies) : []),
      ];
      const sum = (pick: (books: OriginBooks) => number) =>
        origins.reduce((total, books) => total + pick(books), 0);
      const loose = tallies.get(NO_ORIGIN);
      return {
        accepted: sum((books) => books.accepted),
        charged: sum((books) => books.charged),
        overBudget: sum((books) => books.overBudget),
        invalid: sum((books) => books.invalid),
        rejected: sum((books) => books.rejected),
        inFlight: sum((books) => books.inFlight),
        missing: sum((books) => books.missing),
        unattributed: loose ? loose.charged + loose.overBudget + loose.invalid + loose.rejected : 0,
        balanced: problems.length === 0,
        origins,
        advertisers,
        problems,
      };
    },
    BEGIN_SNAPSHOT,
  );
}

type InFlight = { sequences: number[]; accepted: number };

/** What waits with the brokers, by origin. Some of it may be settled: lanes commit one by one, and a checkpoint follows later. */
async function readInFlight(
  connection: Connection,
  brokers: readonly BrokerBooks[],
): Promise<Map<string, InFlight>> {
  const found = new Map<string, InFlight>();
  const of = (origin: string): InFlight => {
    const known = found.get(origin) ?? { sequences: [], accepted: 0 };
    found.set(origin, known);
    return known;
  };
  for (const broker of brokers) {
    await broker.readWaiting(connection, async (records) => {
      for (const record of records) {
        if (record.is === 'mark') {
          // A mark is sent when all below it is published: it says nothing of what was read before it was.
          if (!broker.isInSnapshot) continue;
          const origin = of(record.origin);
          origin.accepted = Math.max(origin.accepted, record.accepted);
        } else if (record.from !== null) of(record.from.origin).sequences.push(record.from.sequence);
      }
    });
  }
  return found;
}

function originBooks(
  tallies: ReadonlyMap<string, Tally>,
  waiting: ReadonlyMap<string, InFlight>,
): OriginBooks[] {
  const origins = new Set([...tallies.keys(), ...waiting.keys()]);
  origins.delete(NO_ORIGIN);
  return [...origins].sort().map((origin) => {
    const tally = tallies.get(origin);
    const { charged = 0, overBudget = 0, invalid = 0, rejected = 0, settled = [] } = tally ?? {};
    // A copy of what is settled waits for nothing.
    const inFlight = subtractSequences(sequencesOf(waiting.get(origin)?.sequences ?? []), settled);
    const known = uniteSequences(settled, inFlight);
    // Up to the mark all is published, so what is not known is missing. Above it clicks are still on their way.
    const mark = Math.max(tally?.accepted ?? 0, waiting.get(origin)?.accepted ?? 0);
    const marked = [{ start: 1, end: mark + 1 }];
    const accepted = mark + countSequences(subtractSequences(known, marked));
    const gaps = subtractSequences(marked, known);
    const missing = countSequences(gaps);
    const counted = charged + overBudget + invalid + rejected + countSequences(inFlight) + missing;
    return {
      origin,
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

function imbalance(books: OriginBooks): string {
  const { origin, accepted, charged, overBudget, invalid, rejected, inFlight, missing } = books;
  const counted = charged + overBudget + invalid + rejected + inFlight + missing;
  return `origin ${origin}: ${accepted} clicks accepted, ${counted} accounted for`;
}

async function readAdvertisers(connection: Connection, deep: boolean): Promise<AdvertiserBooks[]> {
  const charges = deep
    ? `select advertiser_id, sum(charged_micros)::bigint as micros from (
         select advertiser_id, charged_micros from ledger
         union all select advertiser_id, charged_micros from closed_day
       ) charge group by advertiser_id`
    : 'select null::integer as advertiser_id, null::bigint as micros where false';
  const { rows } = await connection.query<Omit<AdvertiserBooks, 'balanced'>>(
    `select id, name, currency, budget_micros as "budgetMicros", coalesce(entered.micros, 0)::bigint as "enteredMicros",
       spent_micros as "spentMicros", case when $1 then coalesce(charged.micros, 0) end as "chargedMicros",
       remaining_micros as "remainingMicros"
     from advertiser
     left join (select advertiser_id, sum(amount_micros) as micros from budget_entry group by 1) entered
       on entered.advertiser_id = id
     left join (${charges}) charged on charged.advertiser_id = id
     order by id`,
    [deep],
  );
  return rows.map((row) => ({
    ...row,
    balanced:
      row.enteredMicros === row.budgetMicros &&
      row.budgetMicros - row.spentMicros === row.remainingMicros &&
      row.remainingMicros >= 0n &&
      (row.chargedMicros === null || row.chargedMicros === row.spentMicros),
  }));
}

function advertiserImbalance(books: AdvertiserBooks): string {
  const { id, budgetMicros, enteredMicros, spentMicros, chargedMicros, remainingMicros } = books;
  const recounted = chargedMicros === null ? '' : `, charges of the ledger ${chargedMicros}`;
  return (
    `advertiser ${id}: budget ${budgetMicros}, entries ${enteredMicros}, spent ${spentMicros}${recounted}, ` +
    `remaining ${remainingMicros} micros do not agree`
  );
}

/** Every row of the ledger, with the days that were dropped as their sums. */
async function recount(connection: Connection, tallies: ReadonlyMap<string, Tally>): Promise<string[]> {
  const problems: string[] = [];
  const look = async (what: string, sql: string) => {
    const { rows } = await connection.query<{ id: string; kept: string; found: string }>(sql);
    for (const { id, kept, found } of rows.slice(0, 20))
      problems.push(`${what} ${id}: kept ${kept}, the ledger has ${found}`);
    if (rows.length > 20) problems.push(`${what}: and ${rows.length - 20} more`);
  };
  await look(
    'campaign spent',
    `select campaign.id::text, campaign.spent_micros::text as kept, coalesce(sum(charge.micros), 0)::text as found
     from campaign left join (
       select campaign_id, charged_micros as micros from ledger where charged_micros > 0
       union all select campaign_id, charged_micros from closed_day
     ) charge on charge.campaign_id = campaign.id
     where campaign.cap_micros is not null
     group by campaign.id having campaign.spent_micros <> coalesce(sum(charge.micros), 0)`,
  );
  await look(
    'outcomes of origin',
    `with rows as (
       select coalesce(origin, '${NO_ORIGIN}') as origin, outcome::text, 1 as clicks from ledger
       union all select origin, outcome::text, clicks from closed_day_origin
       union all select coalesce(origin, '${NO_ORIGIN}'), 'rejected', 1 from dead_letter
         where origin is not null or click_id is not null
     ), found as (
       select origin,
         coalesce(sum(clicks) filter (where outcome = 'charged'), 0) as charged,
         coalesce(sum(clicks) filter (where outcome = 'over_budget'), 0) as over_budget,
         coalesce(sum(clicks) filter (where outcome = 'invalid'), 0) as invalid,
         coalesce(sum(clicks) filter (where outcome = 'rejected'), 0) as rejected
       from rows group by origin
     ), kept as (
       select origin, sum(charged) as charged, sum(over_budget) as over_budget, sum(invalid) as invalid,
         sum(rejected) as rejected
       from (
         select origin, charged, over_budget, invalid, rejected from origin_total
         union all select coalesce(origin, '${NO_ORIGIN}'), charged, over_budget, invalid, rejected from origin_tally
       ) tally group by origin
     )
     select coalesce(kept.origin, found.origin)::text as id,
       format('%s charged, %s over budget, %s invalid, %s rejected', coalesce(kept.charged, 0),
         coalesce(kept.over_budget, 0), coalesce(kept.invalid, 0), coalesce(kept.rejected, 0)) as kept,
       format('%s charged, %s over budget, %s invalid, %s rejected', coalesce(found.charged, 0),
         coalesce(found.over_budget, 0), coalesce(found.invalid, 0), coalesce(found.rejected, 0)) as found
     from kept full join found on found.origin = kept.origin
     where (coalesce(kept.charged, 0), coalesce(kept.over_budget, 0), coalesce(kept.invalid, 0), coalesce(kept.rejected, 0))
       <> (coalesce(found.charged, 0), coalesce(found.over_budget, 0), coalesce(found.invalid, 0), coalesce(found.rejected, 0))`,
  );
  problems.push(...(await recountSequences(connection, tallies)));
  await look(
    'click both settled and rejected',
    `select dead_letter.click_id::text as id, 'one outcome' as kept, ledger.outcome::text as found
     from dead_letter join ledger on ledger.click_id = dead_letter.click_id`,
  );
  await look(
    'nonce paid for twice',
    `select nonce::text as id, 'once' as kept, count(*)::text as found from ledger
     where nonce is not null and outcome <> 'invalid' group by nonce having count(*) > 1`,
  );
  return problems;
}

/** The sequences of the ledger's rows against those of the tallies; of the origins of which no day was dropped. */
async function recountSequences(
  connection: Connection,
  tallies: ReadonlyMap<string, Tally>,
): Promise<string[]> {
  const { rows } = await connection.query<{ origin: string; found: string }>(
    `select origin, range_agg(int8range(sequence, sequence, '[]'))::text as found
     from (select origin, sequence from ledger union all select origin, sequence from dead_letter) rows
     where origin is not null and not exists (select from closed_day_origin closed where closed.origin = rows.origin)
     group by origin`,
  );
  return rows.flatMap(({ origin, found }) => {
    const kept = formatMultirange(tallies.get(origin)?.settled ?? []);
    return kept === found ? [] : `sequences of origin ${origin}: kept ${kept}, the ledger has ${found}`;
  });
}
