import { sleep } from '../common/lifecycle.ts';
import type { Home } from './home.ts';
import { reconcile } from './reconcile.ts';
import { countSequences, type Sequences, subtractSequences } from './sequences.ts';

/** Time between the two looks at the books, in ms: what is on its way at the first is settled at the second. */
const WAIT_MS = 20_000;
/** Time that the second look gets before the deadline, in ms. */
const LOOK_MS = 10_000;
/** Most lines of problems that are answered: payloads have limits. */
const PROBLEMS_MAX = 50;

export type BooksReport = {
  readonly balanced: boolean;
  readonly accepted: number;
  readonly settled: number;
  readonly missing: number;
  /** What does not agree, and what is missing; empty when all is well. */
  readonly problems: readonly string[];
};

/**
 * Looks at the books twice, and reports what does not agree, and which accepted clicks were missing both times. A function
 * cannot ask the broker what is on its way, as `tollway reconcile` does: so it waits for it. While handlers are further
 * behind than it waits, what they have not read yet counts as missing.
 */
export async function reportBooks(
  { pool, metrics, logger }: Home,
  { cut, deadlineAt }: { cut: AbortSignal; deadlineAt: number },
): Promise<BooksReport> {
  const before = await reconcile(pool);
  const hasGaps = before.missing > 0;
  if (hasGaps) await sleep(Math.max(0, Math.min(WAIT_MS, deadlineAt - LOOK_MS - Date.now())), cut);
  const books = hasGaps ? await reconcile(pool) : before;
  const gapsBefore = new Map(before.origins.map(({ origin, gaps }) => [origin, gaps]));
  const missing = books.origins.flatMap(({ origin, gaps }) => {
    const stayed = intersect(gaps, gapsBefore.get(origin) ?? []);
    const count = countSequences(stayed);
    return count === 0 ? [] : [{ origin, count, first: stayed[0]?.start }];
  });
  const missingCount = missing.reduce((sum, { count }) => sum + count, 0);
  const { rows } = await pool.query<{ count: number }>(
    'select count(*)::int as count from dead_letter where discarded_at is null',
  );
  metrics.booksProblems.set(books.problems.length);
  metrics.missingClicks.set(missingCount);
  metrics.deadLetters.set(rows[0]?.count ?? 0);
  const lines = [
    ...books.problems,
    ...missing.map(
      ({ origin, count, first }) => `origin ${origin}: ${count} clicks missing, the first is ${first}`,
    ),
  ];
  if (lines.length > 0) logger.error({ problems: lines.slice(0, PROBLEMS_MAX) }, 'The books need a person');
  const { balanced, accepted, charged, overBudget, invalid, rejected } = books;
  return {
    balanced,
    accepted,
    settled: charged + overBudget + invalid + rejected,
    missing: missingCount,
    problems: lines.slice(0, PROBLEMS_MAX),
  };
}

function intersect(one: Sequences, other: Sequences): Sequences {
  return subtractSequences(one, subtractSequences(one, other));
}
