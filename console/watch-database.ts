import { createPool, databaseAnswers, terminatePool } from '../common/postgres/postgres.ts';
import { sleep } from '../common/process.ts';
import type { Logger } from '../common/telemetry/logger.ts';
import { OpenProblems, type Problem } from '../common/telemetry/problems.ts';

/** Time between two checks, in ms. */
const CHECK_MS = 1_000;
/** Longest wait for an answer, in ms. */
const ANSWER_MS_MAX = 1_500;

export type DatabaseWatch = {
  /** Whether the database does not answer. Sends no request. */
  readonly problems: () => readonly Problem[];
  readonly stop: () => Promise<void>;
};

/** Checks each second on a connection of its own whether the database answers, so that readiness never waits for it. */
export function watchDatabase(url: string, logger: Logger): DatabaseWatch {
  const onError = (err: Error) => logger.debug({ err }, 'A connection broke');
  const pool = createPool(url, 'console watch', 1, onError, ANSWER_MS_MAX, ANSWER_MS_MAX);
  const stopping = new AbortController();
  const open = new OpenProblems();
  const watch = async () => {
    for (; !stopping.signal.aborted; await sleep(CHECK_MS, stopping.signal)) {
      if (await databaseAnswers(pool)) open.clear('database');
      else
        open.report('database', 'does not answer; requests get 503. Clicks are not affected by the console');
    }
  };
  const running = watch();
  return {
    problems: () => open.list(),
    stop: async () => {
      stopping.abort();
      await terminatePool(pool);
      await running;
    },
  };
}
