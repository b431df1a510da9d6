import { setImmediate } from 'node:timers/promises';
import { errorCode, errorMessage } from '../common/errors.ts';
import {
  breakConnections,
  createPool,
  isSqlState,
  type Pool,
  terminatePool,
} from '../common/postgres/postgres.ts';
import { sleep } from '../common/process.ts';
import type { Logger } from '../common/telemetry/logger.ts';
import { OpenProblems, type Problem } from '../common/telemetry/problems.ts';

/** Time between two checks, in ms. Together with `ANSWER_MS_MAX` it is less than the 2 s within which requests get 503. */
const CHECK_MS = 500;
/** Longest wait for an answer, in ms. */
const ANSWER_MS_MAX = 1_200;
/** Without an answer for this long, in ms, a second connection is tried too: the first may be the only one that is broken. */
const SECOND_MS = 400;
/** A check uses two connections at most. */
const CONNECTIONS = 2;

export type DatabaseWatch = {
  /** Whether the database does not answer. Sends no request. */
  readonly problems: () => readonly Problem[];
  readonly stop: () => Promise<void>;
};

/**
 * Checks twice a second, on connections of its own, whether the database answers, so that readiness never waits for it. Calls `onSilent` after
 * each check without an answer: within 1.7 s after the server froze or the network was cut. Slow statements and locks do not make a database
 * silent.
 */
export function watchDatabase(url: string, logger: Logger, onSilent: () => void): DatabaseWatch {
  const onError = (err: Error) => logger.debug({ err }, 'A connection broke');
  const pool = createPool(url, 'console watch', CONNECTIONS, onError, 0, ANSWER_MS_MAX);
  const stopping = new AbortController();
  const open = new OpenProblems();
  const watch = async () => {
    for (; !stopping.signal.aborted; await sleep(CHECK_MS, stopping.signal)) {
      const failure = await check(pool);
      if (failure === null) {
        open.clear('database');
        continue;
      }
      const consequence = 'requests get 503. Clicks are not affected by the console';
      open.report('database', `does not answer: ${failure.reason}; ${consequence}`);
      breakConnections(pool);
      if (failure.isSilent && !stopping.signal.aborted) onSilent();
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

/** Why a check failed. A server that is not silent answers with errors, such as one that shuts down: it ends its connections itself. */
type Failure = { readonly reason: string; readonly isSilent: boolean };

async function check(pool: Pool): Promise<Failure | null> {
  const ended = new AbortController();
  const query = async () => void (ended.signal.aborted || (await pool.query('select 1')));
  const answered = Promise.any([query(), sleep(SECOND_MS, ended.signal).then(query)]).then(
    () => null,
    ({ errors }: AggregateError): Failure => {
      const refusal = errors.find((error) => isSqlState(errorCode(error)));
      return { reason: errorMessage(refusal ?? errors[0]), isSilent: refusal === undefined };
    },
  );
  // If the event loop was blocked, an answer may be unread: the immediate runs after the sockets were read.
  const late = sleep(ANSWER_MS_MAX, ended.signal)
    .then(() => setImmediate())
    .then((): Failure => ({ reason: `no answer within ${ANSWER_MS_MAX} ms`, isSilent: true }));
  try {
    return await Promise.race([answered, late]);
  } finally {
    ended.abort();
  }
}
