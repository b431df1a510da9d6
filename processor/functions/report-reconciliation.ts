import { postgresBacklog } from '../../brokers/postgres/backlog.ts';
import { counted } from '../../common/counted.ts';
import { sleep } from '../../common/process.ts';
import { countDeadLetters } from '../../ledger/dead-letters.ts';
import { reconcile } from '../../ledger/reconcile.ts';
import { countSequences, type Sequences, subtractSequences } from '../../ledger/sequence-ranges.ts';
import type { Runtime } from '../runtime.ts';

/** Time between the two looks at the books, in ms: what is on its way at the first is settled at the second. */
const WAIT_MS = 20_000;
/** With less than this between the looks nothing is said of what is missing. */
const WAIT_MS_MIN = 3_000;
/** Time that the second look gets before the deadline, in ms. */
const LOOK_MS = 10_000;
/** Most lines of problems that are answered: payloads have limits. */
const PROBLEMS_MAX = 50;

export type ReconciliationReport = {
  readonly balanced: boolean;
  readonly accepted: number;
  readonly settled: number;
  /** `null` where there was no time to tell it from what is on its way. */
  readonly missing: number | null;
  /** What does not agree, and what is missing; empty when all is well. */
  readonly problems: readonly string[];
};

/**
 * Looks at the books twice, and reports what does not agree, and which accepted clicks were missing both times. A function
 * cannot ask the broker what is on its way, as `tollway reconcile` does: so it waits for it. While handlers are further
 * behind than it waits, what they have not read yet counts as missing. `deep` also recounts the ledger row by row.
 */
export async function reportReconciliation(
  { pool, metrics, logger }: Runtime,
  { cut, deadlineAt, deep = false }: { cut: AbortSignal; deadlineAt: number; deep?: boolean },
): Promise<ReconciliationReport> {
  const before = await reconcile(pool, { brokers: [postgresBacklog], deep });
  const hasGaps = before.missing > 0;
  const waitMs = Math.min(WAIT_MS, deadlineAt - LOOK_MS - performance.now());
  const hasTime = waitMs >= WAIT_MS_MIN;
  if (hasGaps && hasTime) await sleep(waitMs, cut);
  const reconciliation = hasGaps && hasTime ? await reconcile(pool, { brokers: [postgresBacklog] }) : before;
  const gapsBefore = new Map(before.spools.map(({ spoolId, gaps }) => [spoolId, gaps]));
  const isJudged = !hasGaps || hasTime;
  const missing = (isJudged ? reconciliation.spools : []).flatMap(({ spoolId, gaps }) => {
    const stayed = intersect(gaps, gapsBefore.get(spoolId) ?? []);
    const count = countSequences(stayed);
    return count === 0 ? [] : [{ spoolId, count, first: stayed[0]?.start }];
  });
  const missingCount = missing.reduce((sum, { count }) => sum + count, 0);
  const problems = [...before.problems, ...(reconciliation === before ? [] : reconciliation.problems)];
  metrics.reconciliationProblems.set(problems.length);
  if (isJudged) metrics.missingClicks.set(missingCount);
  metrics.deadLetters.set(await countDeadLetters(pool));
  const lines = [
    ...problems,
    ...missing.map(
      ({ spoolId, count, first }) =>
        `spool ${spoolId}: ${counted(count, 'click')} missing, the first is ${first}`,
    ),
  ];
  if (lines.length > 0)
    logger.error(
      { problems: lines.slice(0, PROBLEMS_MAX) },
      'Reconciliation found problems; see docs/runbook.md#reconciliation',
    );
  const { accepted, charged, overBudget, invalid, rejected } = reconciliation;
  return {
    balanced: problems.length === 0,
    accepted,
    settled: charged + overBudget + invalid + rejected,
    missing: isJudged ? missingCount : null,
    problems: lines.slice(0, PROBLEMS_MAX),
  };
}

function intersect(one: Sequences, other: Sequences): Sequences {
  return subtractSequences(one, subtractSequences(one, other));
}
