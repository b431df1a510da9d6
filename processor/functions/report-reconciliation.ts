import { postgresBacklog } from '../../brokers/postgres/backlog.ts';
import { counted } from '../../common/counted.ts';
import { sleep } from '../../common/process.ts';
import { countDeadLetters } from '../../ledger/charge/dead-letters.ts';
import { reconcile } from '../../ledger/reconciliation/reconcile.ts';
import { countSequences, type Sequences, subtractSequences } from '../../ledger/spools/sequence-ranges.ts';
import type { Runtime } from '../runtime.ts';

/** Time between the two reconciliations, in ms. Clicks that are in flight at the first are settled at the second. */
const WAIT_MS = 20_000;
/** With less time than this between them, in ms, missing clicks are not reported. */
const WAIT_MS_MIN = 3_000;
/** Time reserved for the second reconciliation before the deadline, in ms. */
const SECOND_RUN_MS = 10_000;
/** Maximum number of problems returned: payloads are limited. */
const PROBLEMS_MAX = 50;

export type ReconciliationReport = {
  readonly balanced: boolean;
  readonly accepted: number;
  readonly settled: number;
  /** `null` if there was no time to tell missing clicks from clicks in flight. */
  readonly missing: number | null;
  /** Sums that disagree, and missing clicks; empty if there are none. */
  readonly problems: readonly string[];
};

/**
 * Reconciles twice and reports sums that disagree, and accepted clicks that are missing both times. A function cannot query the broker for
 * clicks in flight as `tollway reconcile` does, so it waits for them to settle. While handlers are further behind than it waits, clicks
 * that they have not read count as missing. `deep` also recounts the ledger row by row.
 */
export async function reportReconciliation(
  { pool, metrics, logger }: Runtime,
  { signal, deadlineAt, deep = false }: { signal: AbortSignal; deadlineAt: number; deep?: boolean },
): Promise<ReconciliationReport> {
  const before = await reconcile(pool, { brokers: [postgresBacklog], deep });
  const hasGaps = before.missing > 0;
  const waitMs = Math.min(WAIT_MS, deadlineAt - SECOND_RUN_MS - performance.now());
  const hasTime = waitMs >= WAIT_MS_MIN;
  if (hasGaps && hasTime) await sleep(waitMs, signal);
  const reconciliation = hasGaps && hasTime ? await reconcile(pool, { brokers: [postgresBacklog] }) : before;
  const gapsBefore = new Map(before.spools.map(({ spoolId, gaps }) => [spoolId, gaps]));
  const isMissingKnown = !hasGaps || hasTime;
  const missing = (isMissingKnown ? reconciliation.spools : []).flatMap(({ spoolId, gaps }) => {
    const inBoth = intersect(gaps, gapsBefore.get(spoolId) ?? []);
    const count = countSequences(inBoth);
    return count === 0 ? [] : [{ spoolId, count, first: inBoth[0]?.start }];
  });
  const missingCount = missing.reduce((sum, { count }) => sum + count, 0);
  const problems = [...before.problems, ...(reconciliation === before ? [] : reconciliation.problems)];
  metrics.booksProblems.set(problems.length);
  if (isMissingKnown) metrics.missingClicks.set(missingCount);
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
    missing: isMissingKnown ? missingCount : null,
    problems: lines.slice(0, PROBLEMS_MAX),
  };
}

function intersect(one: Sequences, other: Sequences): Sequences {
  return subtractSequences(one, subtractSequences(one, other));
}
