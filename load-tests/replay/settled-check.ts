import { formatAmount } from '../../common/money.ts';
import type { Pool } from '../../common/postgres/postgres.ts';
import { sleep } from '../../common/process.ts';
import { boundsOf } from '../load/click-ids.ts';
import type { ClickIdFile } from './click-id-file.ts';

/** Click ids per query. */
const PAGE = 5_000;
const POLL_MS = 100;
/** Missing click ids that the report lists. */
const MISSING_IDS_MAX = 10;

/** The result of looking up all replayed clicks in the ledger and among the dead letters. */
export type SettledCheck = {
  /** Number of distinct click ids. */
  readonly expected: number;
  readonly found: number;
  readonly missing: number;
  readonly missingIds: readonly string[];
  /** Clicks that were settled before this replay. The replay does not change them. */
  readonly before: number;
  /** Number of the other clicks by outcome, such as `charged`, `invalid: bot` or `rejected: too_old`. */
  readonly outcomes: Readonly<Record<string, number>>;
  /** Charged amount of the other clicks by currency. */
  readonly charged: Readonly<Record<string, string>>;
};

type Row = {
  outcome: string;
  reason: string | null;
  currency: string | null;
  before: boolean;
  count: number;
  micros: bigint;
};

/**
 * Looks up every click id and waits for clicks that are not settled yet, until `waitMs` have passed without a newly settled click, or until
 * `stop`. `startedAt` is a time of the database clock.
 */
export async function checkSettled(
  pool: Pool,
  ids: ClickIdFile,
  {
    startedAt,
    waitMs,
    stop,
    onProgress,
  }: { startedAt: Date; waitMs: number; stop: AbortSignal; onProgress: (found: number) => void },
): Promise<SettledCheck> {
  let [expected, found, before] = [0, 0, 0];
  const outcomes = new Map<string, number>();
  const charged = new Map<string, bigint>();
  const missingIds: string[] = [];
  // After a wait without success, the remaining ids are looked up without waiting.
  let isTimedOut = false;
  for (let from = 0; from < ids.size; from += PAGE) {
    const page = ids.slice(from, PAGE);
    let missing = await readMissing(pool, page);
    for (let changedAt = performance.now(); missing.length > 0 && !isTimedOut && !stop.aborted; ) {
      await sleep(POLL_MS, stop);
      const stillMissing = await readMissing(pool, missing);
      if (stillMissing.length < missing.length) changedAt = performance.now();
      else isTimedOut = performance.now() - changedAt > waitMs;
      missing = stillMissing;
    }
    for (const row of await readOutcomes(pool, page, startedAt)) {
      found += row.count;
      if (row.before) before += row.count;
      else countOutcome(row, outcomes, charged);
    }
    expected += page.length;
    missingIds.push(...missing.slice(0, MISSING_IDS_MAX - missingIds.length));
    onProgress(found);
  }
  return {
    expected,
    found,
    missing: expected - found,
    missingIds,
    before,
    outcomes: Object.fromEntries(outcomes),
    charged: Object.fromEntries([...charged].map(([currency, micros]) => [currency, formatAmount(micros)])),
  };
}

function countOutcome(
  { outcome, reason, currency, count, micros }: Row,
  outcomes: Map<string, number>,
  charged: Map<string, bigint>,
): void {
  const name = reason === null ? outcome : `${outcome}: ${reason}`;
  outcomes.set(name, (outcomes.get(name) ?? 0) + count);
  if (currency !== null && micros > 0n) charged.set(currency, (charged.get(currency) ?? 0n) + micros);
}

async function readMissing(pool: Pool, ids: readonly string[]): Promise<string[]> {
  const { rows } = await pool.query<{ id: string }>(
    `select click_id::text as id from ledger where click_id = any($1::uuid[]) and click_id between $2 and $3
     union all select click_id::text from dead_letter where click_id = any($1::uuid[])`,
    [ids, ...boundsOf(ids)],
  );
  const settled = new Set(rows.map(({ id }) => id));
  return ids.filter((id) => !settled.has(id));
}

/** Outcomes by click. If a click is both in the ledger and a dead letter, which can be redriven, the ledger counts. */
async function readOutcomes(pool: Pool, ids: readonly string[], startedAt: Date): Promise<Row[]> {
  const { rows } = await pool.query<Row>(
    `select outcome, reason, currency, settled_at < $4 as before, count(*)::int as count,
       sum(charged_micros)::bigint as micros
     from (
       select distinct on (click_id) * from (
         select click_id, 1 as priority, outcome::text, reason, charged_micros, advertiser_id, settled_at
         from ledger where click_id = any($1::uuid[]) and click_id between $2 and $3
         union all
         select click_id, 2, 'rejected', reason, 0, null, settled_at from dead_letter where click_id = any($1::uuid[])
       ) settled order by click_id, priority, settled_at
     ) one left join advertiser on advertiser.id = one.advertiser_id and one.charged_micros > 0
     group by 1, 2, 3, 4 order by count desc`,
    [ids, ...boundsOf(ids), startedAt],
  );
  return rows;
}
