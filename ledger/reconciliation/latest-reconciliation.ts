import type { Pool } from '../../common/postgres/postgres.ts';
import type { Reconciliation } from './reconcile.ts';

/** Most problems that are stored; `problemCount` has the number of all. */
const PROBLEMS_MAX = 20;

/** The result of the latest reconciliation that a console ran by itself. Numbers are counts of clicks over all spools. */
export type LatestReconciliation = {
  /** The end of the reconciliation, by the clock of the database. */
  readonly checkedAt: Date;
  readonly durationMs: number;
  readonly balanced: boolean;
  readonly accepted: number;
  readonly charged: number;
  readonly overBudget: number;
  readonly invalid: number;
  readonly rejected: number;
  readonly unattributed: number;
  /** In the broker and not settled; `null`: the broker did not answer. */
  readonly inFlight: number | null;
  /** Accepted, and neither settled nor in the broker; `null`: the broker did not answer. */
  readonly missing: number | null;
  readonly problemCount: number;
  /** At most 20 sentences. */
  readonly problems: readonly string[];
};

/** Stores the result of a reconciliation that took `durationMs`, in place of the one before. `hasBroker`: whether it read the brokers. */
export async function storeReconciliation(
  pool: Pool,
  { problems, ...result }: Reconciliation,
  { hasBroker, durationMs }: { readonly hasBroker: boolean; readonly durationMs: number },
): Promise<void> {
  await pool.query(
    `insert into reconciliation (duration_ms, balanced, accepted, charged, over_budget, invalid, rejected, unattributed, in_flight, missing,
       problem_count, problems)
     values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
     on conflict (one) do update set checked_at = statement_timestamp(), duration_ms = excluded.duration_ms, balanced = excluded.balanced,
       accepted = excluded.accepted, charged = excluded.charged, over_budget = excluded.over_budget, invalid = excluded.invalid,
       rejected = excluded.rejected, unattributed = excluded.unattributed, in_flight = excluded.in_flight, missing = excluded.missing,
       problem_count = excluded.problem_count, problems = excluded.problems`,
    [
      Math.round(durationMs),
      result.balanced,
      ...[result.accepted, result.charged, result.overBudget, result.invalid, result.rejected],
      result.unattributed,
      ...(hasBroker ? [result.inFlight, result.missing] : [null, null]),
      problems.length,
      problems.slice(0, PROBLEMS_MAX),
    ],
  );
}

/** Reads the stored result; `null` before the first one. */
export async function readLatestReconciliation(pool: Pool): Promise<LatestReconciliation | null> {
  const { rows } = await pool.query<LatestReconciliation>(
    `select checked_at as "checkedAt", duration_ms as "durationMs", balanced, accepted::float8, charged::float8,
       over_budget::float8 as "overBudget", invalid::float8, rejected::float8, unattributed::float8, in_flight::float8 as "inFlight",
       missing::float8, problem_count as "problemCount", problems
     from reconciliation`,
  );
  return rows[0] ?? null;
}

/** Whether a result was stored less than `ageMs` ago by the clock of the database. A time in the future counts as old: the clock was set back. */
export async function isReconciledSince(pool: Pool, ageMs: number): Promise<boolean> {
  const { rows } = await pool.query<{ isRecent: boolean }>(
    `select exists (
       select from reconciliation where checked_at > now() - make_interval(secs => $1) and checked_at <= now()
     ) as "isRecent"`,
    [ageMs / 1_000],
  );
  return rows[0]?.isRecent ?? false;
}
