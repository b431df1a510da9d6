import { counted } from '../../common/counted.ts';
import { formatAmount } from '../../common/money.ts';
import type { WebhookBacklog } from '../webhooks/backlog.ts';
import { deadParts } from './dead-parts.ts';
import type { EndingBudget } from './ending-budgets.ts';
import type { MaintenanceState } from './operations-state.ts';
import type { AdServerNumbers, Component } from './part-numbers.ts';
import { answeringParts, type Part, type PartOf } from './parts.ts';
import { backlogOf } from './parts-backlog.ts';
import type { ReportingState } from './reporting-state.ts';

/** `page`: clicks or money are at stake now. `ticket`: it can wait for the morning. */
export type Severity = 'page' | 'ticket';

/** Something that is wrong now. Where Prometheus has an alert for it, name, severity and threshold are the same. */
export type CurrentProblem = {
  /** The name of the alert, such as `TollwayPartDown`. */
  readonly code: string;
  readonly severity: Severity;
  /** One sentence. */
  readonly summary: string;
  /** When it began; `null` if that is not known. */
  readonly since: Date | null;
  /** The section of docs/runbook.md, such as `#tollwaypartdown`. */
  readonly runbook: string;
};

/** The thresholds of deploy/prometheus/alerts.yml, which a test compares. */
export const THRESHOLDS = {
  spoolOldestSeconds: 60,
  /** Share of `SPOOL_MAX_BYTES`. */
  spoolShare: 0.5,
  catalogAgeSeconds: 60,
  /** Ahead or behind. */
  clockOffsetSeconds: 5,
  /** Share of the requests with a valid link, and more of them than this, that get an error. */
  redirectErrorsShare: 0.05,
  redirectErrors: 10,
  /** Share of all requests, and more of them than this, that name no valid link. */
  linksNotFoundShare: 0.5,
  linksNotFound: 100,
  backlogOldestSeconds: 60,
  deadLetters: 0,
  booksProblems: 0,
  missingClicks: 0,
  reconciliationAgeSeconds: 1_800,
  webhooksFailingSeconds: 900,
  webhooksLateSeconds: 120,
  /** Fewer days than this are a problem. */
  partitionsAheadDays: 3,
  maintenanceAgeSeconds: 3_600,
} as const;

/** The latest reconciliation that the consoles ran by themselves. */
export type LatestBooks = {
  readonly checkedAt: Date;
  readonly problemCount: number;
  /** `null`: the broker did not answer, so it is not known. */
  readonly missing: number | null;
};

/** What the problems are found in. */
export type ProblemSources = {
  /** The time of the database at which all of it was read. */
  readonly asOf: Date;
  readonly parts: readonly Part[];
  readonly reports: ReportingState;
  /** Components of which at least one process has to run: not those that run as functions, which do not report. */
  readonly expected: readonly Component[];
  /** `null`: no reconciliation has ended yet. */
  readonly books: LatestBooks | null;
  readonly deadLetters: number;
  readonly webhooks: readonly WebhookBacklog[];
  readonly maintenance: Pick<MaintenanceState, 'lastAt' | 'partitionsAheadDays'>;
  readonly budgets: readonly EndingBudget[];
};

/** A warning, also of one worker, about a spool that cannot be relayed or about the clock. Those have other alerts; other warnings are about the broker. */
const OTHER_WARNING = /^(?:worker \d+: )?(?:spool|clock): /;

const NAMES: Readonly<Record<Component, string>> = {
  'ad-server': 'ad server',
  processor: 'processor',
  console: 'console',
};

/** Lists what is wrong now, pages first. */
export function currentProblems(sources: ProblemSources): CurrentProblem[] {
  const { asOf, parts } = sources;
  const ago = (seconds: number) => new Date(asOf.getTime() - seconds * 1_000);
  const problems = [
    ...reportProblems(sources.reports, ago),
    ...deadParts(parts).map(deadPart),
    ...absentParts(parts, sources.expected),
    ...processorProblems(parts),
    ...answeringParts(parts, 'ad-server').flatMap((part) => adServerProblems(part, ago)),
    ...redirectProblems(parts),
    ...linkProblems(parts),
    ...notReadyParts(parts),
    ...backlogProblems(parts, ago),
    ...booksProblems(sources),
    ...maintenanceProblems(sources),
    ...webhookProblems(sources.webhooks, ago),
    ...sources.budgets.flatMap(budgetProblems),
  ];
  return [...problems.filter(isPage), ...problems.filter((problem) => !isPage(problem))];
}

/** That the problems could not be read for this `reason`: those beside it are as of `since`. `null`: they were not read yet. */
export function oldProblems(reason: string, since: Date | null): CurrentProblem {
  const summary = `The console cannot read what is wrong, so this list is old: ${reason}`;
  return problem('TollwayProblemsOld', 'page', summary, since, 'console');
}

function isPage({ severity }: CurrentProblem): boolean {
  return severity === 'page';
}

function problem(
  code: string,
  severity: Severity,
  summary: string,
  since: Date | null = null,
  section = code,
): CurrentProblem {
  return { code, severity, summary, since, runbook: `#${section.toLowerCase()}` };
}

/** All that follows from the reports of the parts is old then. */
function reportProblems({ failure }: ReportingState, ago: (seconds: number) => Date): CurrentProblem[] {
  if (failure === null) return [];
  const summary = `The database gets no reports of the parts, so it is not known what they do: ${failure.reason}`;
  return [problem('TollwayPartsUnknown', 'page', summary, ago(failure.forMs / 1_000), 'TollwayDatabaseDown')];
}

function deadPart({ component, instance, reportedAt }: Part): CurrentProblem {
  const consequence = component === 'processor' ? '; clicks wait and are charged later, none is lost' : '';
  const summary = `The ${NAMES[component]} at ${instance} does not answer${consequence}`;
  return component === 'console'
    ? problem('TollwayConsoleDown', 'ticket', summary, reportedAt)
    : problem('TollwayPartDown', 'page', summary, reportedAt);
}

function absentParts(parts: readonly Part[], expected: readonly Component[]): CurrentProblem[] {
  const absent = expected.filter((component) => !parts.some((part) => part.component === component));
  return absent.map((component) => problem('TollwayPartAbsent', 'page', `No ${NAMES[component]} runs`));
}

function processorProblems(parts: readonly Part[]): CurrentProblem[] {
  return answeringParts(parts, 'processor')
    .filter(({ numbers }) => numbers.isBlocked)
    .map(({ instance, problems: [reason = 'its log has the reason'] }) =>
      problem(
        'TollwaySettlementBlocked',
        'page',
        `The processor at ${instance} cannot settle all clicks: ${reason}`,
      ),
    );
}

function adServerProblems(
  { instance, warnings, numbers }: PartOf<'ad-server'>,
  ago: (seconds: number) => Date,
): CurrentProblem[] {
  const found: CurrentProblem[] = [];
  const broker = warnings.find((warning) => !OTHER_WARNING.test(warning));
  if (broker !== undefined)
    found.push(
      problem(
        'TollwayBrokerDown',
        'page',
        `The broker takes no clicks of the ad server at ${instance}: ${broker}`,
      ),
    );
  const { spoolOldestSeconds, spoolBytes, spoolBytesMax, unrecordedRecently, catalogAgeSeconds } = numbers;
  const { clockOffsetSeconds } = numbers;
  if (isAbove(spoolOldestSeconds, THRESHOLDS.spoolOldestSeconds))
    found.push(
      problem(
        'TollwaySpoolOld',
        'page',
        `A click waits in the spool of ${instance}`,
        ago(spoolOldestSeconds),
      ),
    );
  if (isAbove(spoolBytes, THRESHOLDS.spoolShare * (spoolBytesMax ?? Number.POSITIVE_INFINITY)))
    found.push(
      problem(
        'TollwaySpoolLarge',
        'page',
        `The spools of ${instance} hold ${Math.round(spoolBytes / 1e6)} MB`,
      ),
    );
  if (isAbove(unrecordedRecently, 0)) {
    const clicks = counted(unrecordedRecently, 'click');
    const summary = `The ad server at ${instance} could not record ${clicks} in the last ten minutes`;
    found.push(problem('TollwayClicksUnrecorded', 'page', summary));
  }
  if (isAbove(catalogAgeSeconds, THRESHOLDS.catalogAgeSeconds))
    found.push(
      problem('TollwayCatalogOld', 'ticket', `The ad catalog of ${instance} is old`, ago(catalogAgeSeconds)),
    );
  if (clockOffsetSeconds !== null && Math.abs(clockOffsetSeconds) > THRESHOLDS.clockOffsetSeconds) {
    const seconds = Math.round(Math.abs(clockOffsetSeconds));
    const differs = `${seconds} s ${clockOffsetSeconds > 0 ? 'ahead of' : 'behind'} that of the database server`;
    const summary = `The clock of the ad server at ${instance} is ${differs}, and clicks get its time`;
    found.push(problem('TollwayClockOff', 'ticket', summary));
  }
  return found;
}

/** Errors instead of redirects, of all ad servers together. */
function redirectProblems(parts: readonly Part[]): CurrentProblem[] {
  const all = answeringParts(parts, 'ad-server');
  const answered = total(all, ({ linksAnsweredRecently }) => linksAnsweredRecently);
  const refused = total(all, ({ linksRefusedRecently }) => linksRefusedRecently);
  if (refused <= Math.max(THRESHOLDS.redirectErrors, THRESHOLDS.redirectErrorsShare * answered)) return [];
  const summary = `${refused} of ${answered} requests with a valid link got an error instead of a redirect in the last ten minutes`;
  return [problem('TollwayRedirectErrors', 'page', summary)];
}

/** Requests that name no valid link, of all ad servers together. */
function linkProblems(parts: readonly Part[]): CurrentProblem[] {
  const all = answeringParts(parts, 'ad-server');
  const requests = total(all, ({ requestsRecently }) => requestsRecently);
  const notFound = total(all, ({ linksNotFoundRecently }) => linksNotFoundRecently);
  if (notFound <= Math.max(THRESHOLDS.linksNotFound, THRESHOLDS.linksNotFoundShare * requests)) return [];
  const most = all.toSorted(byLinksNotFound)[0];
  const summary = `${notFound} of ${requests} requests named no valid link in the last ten minutes, most of them at ${most?.instance}`;
  return [problem('TollwayLinksNotFound', 'page', summary)];
}

function total(
  parts: readonly PartOf<'ad-server'>[],
  count: (numbers: AdServerNumbers) => number | null,
): number {
  return parts.reduce((sum, { numbers }) => sum + (count(numbers) ?? 0), 0);
}

/** Those with the most requests without a valid link first. */
function byLinksNotFound(a: PartOf<'ad-server'>, b: PartOf<'ad-server'>): number {
  return (b.numbers.linksNotFoundRecently ?? 0) - (a.numbers.linksNotFoundRecently ?? 0);
}

/** Parts that are not ready for a reason that has no alert of its own. */
function notReadyParts(parts: readonly Part[]): CurrentProblem[] {
  return parts.flatMap((part) => {
    const isBlocked = part.component === 'processor' && part.numbers.isBlocked;
    if (part.state !== 'not_ready' || isBlocked) return [];
    const summary = `The ${NAMES[part.component]} at ${part.instance} is not ready: ${part.problems[0]}`;
    return [problem('TollwayPartNotReady', 'page', summary, null, 'TollwayPartDown')];
  });
}

function backlogProblems(parts: readonly Part[], ago: (seconds: number) => Date): CurrentProblem[] {
  const { oldestAgeSeconds } = backlogOf(parts);
  if (!isAbove(oldestAgeSeconds, THRESHOLDS.backlogOldestSeconds)) return [];
  return [
    problem(
      'TollwayBacklogOld',
      'ticket',
      'A click waits in the broker and is not charged yet',
      ago(oldestAgeSeconds),
    ),
  ];
}

function booksProblems({ asOf, books, deadLetters }: ProblemSources): CurrentProblem[] {
  const found: CurrentProblem[] = [];
  if (books !== null) {
    const { problemCount, missing, checkedAt } = books;
    if (isAbove(problemCount, THRESHOLDS.booksProblems))
      found.push(
        problem('TollwayBooksUnbalanced', 'page', `Reconciliation found ${counted(problemCount, 'problem')}`),
      );
    if (isAbove(missing, THRESHOLDS.missingClicks))
      found.push(problem('TollwayClicksMissing', 'page', `Accepted clicks are missing: ${missing}`));
    if ((asOf.getTime() - checkedAt.getTime()) / 1_000 > THRESHOLDS.reconciliationAgeSeconds)
      found.push(
        problem('TollwayReconciliationOld', 'page', 'The books have not been checked for a while', checkedAt),
      );
  }
  if (isAbove(deadLetters, THRESHOLDS.deadLetters))
    found.push(
      problem('TollwayDeadLetters', 'ticket', `Rejected records wait for an operator: ${deadLetters}`),
    );
  return found;
}

function maintenanceProblems({ asOf, maintenance }: ProblemSources): CurrentProblem[] {
  const { lastAt, partitionsAheadDays } = maintenance;
  const found: CurrentProblem[] = [];
  if (partitionsAheadDays < THRESHOLDS.partitionsAheadDays) {
    const days = counted(Math.max(0, partitionsAheadDays), 'day');
    const summary = `The ledger has partitions for today and ${days} more. Clicks of later days cannot be charged`;
    found.push(problem('TollwayPartitionsFew', 'page', summary));
  }
  const ageSeconds = lastAt === null ? null : (asOf.getTime() - lastAt.getTime()) / 1_000;
  if (isAbove(ageSeconds, THRESHOLDS.maintenanceAgeSeconds))
    found.push(
      problem('TollwayMaintenanceOld', 'ticket', 'The ledger has not been maintained for a while', lastAt),
    );
  return found;
}

function webhookProblems(
  webhooks: readonly WebhookBacklog[],
  ago: (seconds: number) => Date,
): CurrentProblem[] {
  return webhooks.flatMap(({ state, deliveries, oldestSeconds }) => {
    if (state === 'failing' && oldestSeconds > THRESHOLDS.webhooksFailingSeconds) {
      const summary = `Targets of webhooks fail: ${counted(deliveries, 'event waits', 'events wait')}`;
      return [problem('TollwayWebhooksFailing', 'ticket', summary, ago(oldestSeconds))];
    }
    if (state === 'ok' && oldestSeconds > THRESHOLDS.webhooksLateSeconds) {
      const summary = `Webhooks are sent late: ${counted(deliveries, 'event waits', 'events wait')}`;
      return [problem('TollwayWebhooksLate', 'ticket', summary, ago(oldestSeconds))];
    }
    return [];
  });
}

function budgetProblems(budget: EndingBudget): CurrentProblem[] {
  const { advertiserId, name, currency, remainingMicros, isNearlyGone, isExhausted, secondsLeft } = budget;
  const left = `Advertiser ${name} (${advertiserId}) has ${formatAmount(remainingMicros)} ${currency} left`;
  const found: CurrentProblem[] = [];
  if (secondsLeft !== null) {
    const summary = `${left}, less than an hour at the rate of the last 15 to 30 minutes`;
    found.push(problem('TollwayBudgetExhaustedSoon', 'ticket', summary));
  }
  if (isNearlyGone) {
    const than = isExhausted ? 'a click on its ads costs' : '5 % of the budget';
    found.push(problem('TollwayBudgetNearlyGone', 'ticket', `${left}, less than ${than}`));
  }
  return found;
}

function isAbove(value: number | null, threshold: number): value is number {
  return value !== null && value > threshold;
}
