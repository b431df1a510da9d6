import { STOPPING } from '../../brokers/event-source.ts';
import type { FunctionConfig } from '../../common/config/function-config.ts';
import { elapsedMs, moment } from '../../common/elapsed.ts';
import { errorCode, errorMessage, TollwayError } from '../../common/errors.ts';
import type { CounterValue } from '../../common/telemetry/embedded-metrics.ts';
import type { ReadRecord } from '../../contract/click-event.ts';
import type { FunctionRooms } from './open-function.ts';

/** Time before the end of an invocation when nothing new is begun, in ms. */
const BEGIN_MS = 1_000;
/** Time before the end of an invocation when what is under way is cut off, in ms. */
const CUT_MS = 400;
/** Time that what is cut off gets to end by itself, in ms; then it is left where it is. */
const GRACE_MS = 100;
/** Sleep after which connections are not trusted any more, in ms: a frozen function does not notice that they broke. */
const SLEEP_MS_MAX = 60_000;

/** Longest wait for an answer of the database, in ms; then what was asked is asked again. */
const QUERY_MS_MAX = 15_000;

/** One call of a function. */
export type Invocation = {
  /** Under which its platform logs it. */
  readonly id: string;
  /** When the platform ends it, on the clock of `performance.now()`; `null` where it does not say: then `REQUEST_TIMEOUT_MS` from now. */
  readonly deadlineAt: number | null;
};

/**
 * Runs the handler inside a function: opened by the first event, kept while the function is warm, and left
 * with no transaction open. A platform may freeze a function as soon as it has answered: a transaction
 * that is open then would hold its locks until the function is thawed.
 */
export class FunctionRuntime {
  private readonly name: string;
  private readonly env: Readonly<Record<string, string | undefined>>;
  private readonly queryMsMax: number;
  private opening: Promise<FunctionRooms> | null = null;
  /** What a runtime that slept knew; after one that failed all is asked anew, the password too. */
  private known: FunctionConfig | null = null;
  /** What stood in the way of the last call that settled less than all, as far as it is known. */
  problem: string | null = null;
  private atWork = 0;
  private lastAt = moment();
  /** Whether something may be under way still that nobody waits for. */
  private unfinished = false;

  /** `queryMsMax`: longest wait for an answer of the database, in ms, before it is asked again; 0 waits until the deadline. */
  constructor(name: string, env: Readonly<Record<string, string | undefined>>, queryMsMax = QUERY_MS_MAX) {
    this.name = name;
    this.env = env;
    this.queryMsMax = queryMsMax;
  }

  /**
   * Has records settled, in their order, by batches. Answers how many of them, from the first on, are settled and
   * committed. The rest has to come again: near its deadline a function begins no batch, and cuts off the one that is under way.
   */
  async settle(records: readonly ReadRecord[], invocation: Invocation): Promise<number> {
    return this.during(invocation, async (runtime, { cut, deadlineAt }) => {
      const startedAt = performance.now();
      let settled = 0;
      while (settled < records.length && performance.now() < deadlineAt - BEGIN_MS) {
        const batch = records.slice(settled, settled + runtime.config.BATCH_SIZE);
        try {
          await runtime.dispatcher.submit(batch, cut);
        } catch (error) {
          if (errorCode(error) !== STOPPING) throw error;
          break;
        }
        settled += batch.length;
      }
      this.problem =
        settled < records.length
          ? (runtime.dispatcher.lastFailure ?? runtime.dispatcher.problems[0]?.reason ?? null)
          : null;
      const line = { records: records.length, settled, milliseconds: performance.now() - startedAt };
      const counted = runtime.metrics.flush();
      runtime.logger.info({ invocation: invocation.id, ...line, outcomes: outcomesOf(counted) }, 'A batch');
      return settled;
    });
  }

  /**
   * Runs what is no batch of clicks in this runtime. `cut` is aborted shortly before the deadline; what does not end then is
   * undone by the database, and this throws `not_in_time`.
   */
  async during<T>(
    invocation: Invocation,
    work: (runtime: FunctionRooms, time: { cut: AbortSignal; deadlineAt: number }) => Promise<T>,
  ): Promise<T> {
    this.atWork += 1;
    const startedAt = performance.now();
    const cut = new AbortController();
    let rejectOnDeadline: (error: Error) => void = () => {};
    // By hand: OpenWhisk's Node 20 has no Promise.withResolvers.
    const late = new Promise<never>((_, reject) => {
      rejectOnDeadline = reject;
    });
    let timer: NodeJS.Timeout | undefined;
    let runtime: FunctionRooms | null = null;
    let whole = false;
    try {
      runtime = await this.opened();
      const deadlineAt = invocation.deadlineAt ?? startedAt + runtime.config.REQUEST_TIMEOUT_MS;
      const cutOff = () => {
        cut.abort();
        timer = setTimeout(() => rejectOnDeadline(this.tooLate()), GRACE_MS);
      };
      timer = setTimeout(cutOff, Math.max(0, deadlineAt - CUT_MS - performance.now()));
      const result = await Promise.race([work(runtime, { cut: cut.signal, deadlineAt }), late]);
      whole = !cut.signal.aborted;
      return result;
    } catch (error) {
      throw named(this.name, error);
    } finally {
      clearTimeout(timer);
      this.atWork -= 1;
      this.lastAt = moment();
      runtime?.metrics.flush();
      // After anything else than a good end something may be under way yet. The last one at work leaves, however its own ended.
      if (runtime !== null && !whole) this.unfinished = true;
      if (runtime !== null && this.unfinished && this.atWork === 0) await this.leave(runtime);
    }
  }

  /** Opens it before the first call, for a runtime that may fail at its start: throws what is wrong with its settings. */
  async open(): Promise<void> {
    this.atWork += 1;
    await this.opened().finally(() => {
      this.atWork -= 1;
      this.lastAt = moment();
    });
  }

  /** Leaves it for good. What is at work ends for itself. */
  async close(): Promise<void> {
    const known = await this.opening?.catch(() => null);
    if (known && this.atWork === 0) await this.leave(known);
  }

  /** Decides at once, so that all who wake it together get the same home. */
  private opened(): Promise<FunctionRooms> {
    const { opening: earlier } = this;
    const slept = this.atWork === 1 && elapsedMs(this.lastAt) > SLEEP_MS_MAX;
    if (earlier !== null && !slept) return earlier;
    const opening = earlier === null ? this.build() : earlier.then((runtime) => this.renew(runtime));
    this.opening = opening;
    opening.catch(() => {
      this.opening = null;
    });
    return opening;
  }

  /** Closes a runtime that slept, and opens another with what that one knew. */
  private async renew({ dispatcher, cut, known }: FunctionRooms): Promise<FunctionRooms> {
    dispatcher.abort();
    await cut();
    this.known = known;
    return this.build();
  }

  private async build(): Promise<FunctionRooms> {
    const { known } = this;
    this.known = null;
    // Loaded by the first event and not with the function: what only waits for one stays small.
    const { openFunction } = await import('./open-function.ts');
    return openFunction(this.name, this.env, this.queryMsMax, known);
  }

  /** Closes the runtime; the next event opens another. */
  private async leave({ dispatcher, cut }: FunctionRooms): Promise<void> {
    this.opening = null;
    this.unfinished = false;
    dispatcher.abort();
    await cut();
  }

  private tooLate(): TollwayError {
    const message = `${this.name}: expected to be done in time, was cut off shortly before the deadline`;
    return new TollwayError('not_in_time', message, { retryable: true });
  }
}

/** Names the function in an error of the database or the network, which may have no text at all if a host has several addresses. */
function named(name: string, error: unknown): unknown {
  if (error instanceof TollwayError || errorCode(error) === undefined) return error;
  return new TollwayError('dependency_failed', `${name}: ${errorMessage(error)}`, { cause: error });
}

/** What became of the clicks of an invocation, as in `{ charged: 998, invalid: 2 }`. */
function outcomesOf(counted: readonly CounterValue[]): Record<string, number> {
  const outcomes: Record<string, number> = {};
  for (const { name, labels, value } of counted) {
    const outcome =
      name === 'tollway_clicks_total'
        ? String(labels.outcome)
        : name === 'tollway_duplicate_clicks_total'
          ? 'duplicate'
          : name === 'tollway_foreign_records_total'
            ? 'foreign'
            : null;
    if (outcome !== null) outcomes[outcome] = (outcomes[outcome] ?? 0) + value;
  }
  return outcomes;
}
