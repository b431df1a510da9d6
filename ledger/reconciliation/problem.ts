/** What the problems of a reconciliation begin with. docs/runbook.md says what each means and what to do; a test compares the two. */
export const PROBLEM_KINDS = [
  'spool',
  'advertiser',
  'spent by campaign',
  'campaign spent',
  'outcomes of spool',
  'sequences of spool',
  'click',
  'nonce',
  'rollup',
] as const;

export type ProblemKind = (typeof PROBLEM_KINDS)[number];

/** One sentence about something that does not agree. `: ` follows a kind whose other problems are only counted. */
export type ReconciliationProblem = `${ProblemKind}${' ' | ': '}${string}`;
