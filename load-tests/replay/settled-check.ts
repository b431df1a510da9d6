import { formatAmount } from '../../common/money.ts';
import type { Pool } from '../../common/postgres/postgres.ts';
import { sleep } from '../../common/process.ts';
import { boundsOf } from '../load/click-ids.ts';
import type { ClickIdFile } from './click-id-file.ts';

/** Click ids looked up at once. */
const PAGE = 5_000;
const POLL_MS = 100;
/** Missing click ids that are named. */
const MISSING_IDS_MAX = 10;

/** What the ledger, with the rejected clicks, says about those that were replayed. */
export type SettledCheck = {
  /** Different click ids. */
  readonly expected: number;
  readonly found: number;
  readonly missing: number;
  readonly missingIds: readonly string[];
  /** Those that were settled before this replay began: nothing has happened to them. */
  readonly before: number;
  /** What became of the others, such as `charged`, `invalid: bot` or `rejected: too_old`. */
  readonly outcomes: Readonly<Record<string, number>>;
  /** What was charged for the others, by currency. */
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
 * Looks every click id up, and waits for those that are not settled yet: until none has come for `waitMs`, or until `stop`.
 * `startedAt` is by the clock of the database.
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
  // Once the waiting was in vain, the others are only looked up.
  let waited = false;
  for (let from = 0; from < ids.size; from += PAGE) {
    const asked = ids.slice(from, PAGE);
    let missing = await readMissing(pool, asked);
    for (let changedAt = performance.now(); missing.length > 0 && !waited && !stop.aborted; ) {
      await sleep(POLL_MS, stop);
      const still = await readMissing(pool, missing);
      if (still.length < missing.length) changedAt = performance.now();
      else waited = performance.now() - changedAt > waitMs;
      missing = still;
    }
    for (const row of await readOutcomes(pool, asked, startedAt)) {
      found += row.count;
      if (row.before) before += row.count;
      else {
        const name = row.reason === null ? row.outcome : `${row.outcome}: ${row.reason}`;
        outcomes.set(name, (outcomes.get(name) ?? 0) + row.count);
        if (row.currency !== null && row.micros > 0n)
          charged.set(row.currency, (charged.get(row.currency) ?? 0n) + row.micros);
      }
    }
    expected += asked.length;
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

async function readMissing(pool: Pool, ids: readonly string[]): Promise<string[]> {
  const { rows } = await pool.query<{ id: string }>(
    `select click_id::text as id from ledger where click_id = any($1::uuid[]) and click_id between $2 and $3
     union all select click_id::text from dead_letter where click_id = any($1::uuid[])`,
    [ids, ...boundsOf(ids)],
  );
  const settled = new Set(rows.map(({ id }) => id));
  return ids.filter((id) => !settled.has(id));
}

/** A click that is in the ledger counts by its row there: it may have been rejected at first. */
async function readOutcomes(pool: Pool, ids: readonly string[], startedAt: Date): Promise<Row[]> {
  const { rows } = await pool.query<Row>(
    `select outcome, reason, currency, settled_at < $4 as before, count(*)::int as count,
       sum(charged_micros)::bigint as micros
     from (
       select distinct on (click_id) * from (
         select click_id, 1 as place, outcome::text, reason, charged_micros, advertiser_id, settled_at
         from ledger where click_id = any($1::uuid[]) and click_id between $2 and $3
         union all
         select click_id, 2, 'rejected', reason, 0, null, settled_at from dead_letter where click_id = any($1::uuid[])
       ) settled order by click_id, place, settled_at
     ) one left join advertiser on advertiser.id = one.advertiser_id and one.charged_micros > 0
     group by 1, 2, 3, 4 order by count desc`,
    [ids, ...boundsOf(ids), startedAt],
  );
  return rows;
}
