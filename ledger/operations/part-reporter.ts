import { hostname } from 'node:os';
import { withDeadline } from '../../common/deadline.ts';
import { errorMessage } from '../../common/errors.ts';
import { createPool, terminatePool } from '../../common/postgres/postgres.ts';
import { sleep } from '../../common/process.ts';
import type { Logger } from '../../common/telemetry/logger.ts';
import { describeProblem, type Problem } from '../../common/telemetry/problems.ts';
import { ThrottledLog } from '../../common/telemetry/throttled-log.ts';
import { readVersion } from '../../common/version.ts';
import type { Component, PartNumbers } from './part-numbers.ts';
import { NO_ANSWER_MS, type PartRun, removePart, reportPart } from './parts.ts';
import { OwnReports, type ReportingState } from './reporting-state.ts';

/** Time between two reports, in ms. */
const REPORT_MS = 2_000;
/** Longest wait for the database, in ms. */
const ANSWER_MS_MAX = 2_000;
/** The same at shutdown, in ms. */
const REMOVE_MS_MAX = 1_000;
/** Longest problem or warning, in characters, and most of them: a report is small, whatever goes wrong. */
const TEXT_CHARS_MAX = 500;
const TEXTS_MAX = 50;

/** The state of a process. These functions must not query a server. */
export type ReportedState<C extends Component> = {
  readonly problems: () => readonly Problem[];
  readonly warnings?: () => readonly Problem[];
  readonly numbers: () => Promise<PartNumbers[C]>;
};

/** Writes the row of this process in the table `part` every 2 s. */
export type PartReporter<C extends Component> = {
  /** Begins to report. */
  readonly start: (state: ReportedState<C>) => void;
  /** Whether the database takes the reports. Sends no request. */
  readonly reportingState: () => ReportingState;
  /** Ends the reports. Exit code 0 deletes the row; otherwise it stays, so that one sees what failed. Never rejects. */
  readonly stop: (exitCode: number) => Promise<void>;
};

/**
 * Creates the reporter of this process, with one connection of its own, so that it never waits for a connection that clicks use, nor they for
 * it. While the database does not answer, it logs a line every 30 s and retries. `opsPort` tells the processes of a host apart.
 */
export function createPartReporter<C extends Component>(
  component: C,
  { databaseUrl, opsPort, logger }: { databaseUrl: string; opsPort: number; logger: Logger },
): PartReporter<C> {
  const onError = (err: Error) => logger.debug({ err }, 'A connection broke');
  const pool = createPool(databaseUrl, 'part report', 1, onError, ANSWER_MS_MAX, ANSWER_MS_MAX);
  const run: PartRun = {
    component,
    instance: `${hostname()}:${opsPort}`,
    startedAt: new Date(Math.floor(performance.timeOrigin)),
  };
  const version = readVersion();
  const log = new ThrottledLog(logger, {
    failed:
      'This process cannot report its state to the database and retries; the console cannot show what it does. Clicks are not affected',
    recovered: 'This process reports its state to the database again',
    graceMs: NO_ANSWER_MS,
  });
  const own = new OwnReports();
  const stopping = new AbortController();
  let running = Promise.resolve();

  const reportOnce = async ({ problems, warnings = () => [], numbers }: ReportedState<C>) => {
    try {
      const state = { problems: texts(problems()), warnings: texts(warnings()), numbers: await numbers() };
      const report = reportPart(pool, { ...run, version, ...state });
      await withDeadline(report, ANSWER_MS_MAX, 'The database');
      own.succeed();
      log.recover();
    } catch (error) {
      own.fail(errorMessage(error));
      if (!stopping.signal.aborted) log.fail({ problem: errorMessage(error) });
    }
  };
  const repeat = async (state: ReportedState<C>) => {
    for (; !stopping.signal.aborted; await sleep(REPORT_MS, stopping.signal)) await reportOnce(state);
  };
  return {
    start: (state) => {
      running = repeat(state);
    },
    reportingState: () => own.state(),
    stop: async (exitCode) => {
      stopping.abort();
      const removed = running.then(() => (exitCode === 0 ? removePart(pool, run) : undefined));
      await withDeadline(removed, REMOVE_MS_MAX, 'The database').catch((error: unknown) => {
        logger.debug({ problem: errorMessage(error) }, 'The state of this process stays in the database');
      });
      await terminatePool(pool);
    },
  };
}

function texts(problems: readonly Problem[]): string[] {
  return problems.slice(0, TEXTS_MAX).map((problem) => describeProblem(problem).slice(0, TEXT_CHARS_MAX));
}
