import { STOPPING } from '../../brokers/event-source.ts';
import type { FunctionConfig } from '../../common/config/function-config.ts';
import { elapsedMs, moment } from '../../common/elapsed.ts';
import { errorCode, errorMessage, TollwayError } from '../../common/errors.ts';
import type { CounterValue } from '../../common/telemetry/embedded-metrics.ts';
import type { ReadRecord } from '../../contract/click-event.ts';
import type { FunctionContext } from './open-function.ts';

/** Time before the deadline after which no batch is started, in ms. */
const START_MS = 1_000;
/** Time before the deadline when running work is aborted, in ms. */
const ABORT_MS = 400;
/** Time that aborted work gets to end, in ms; then the invocation ends without it. */
const GRACE_MS = 100;
/** Idle time after which connections are replaced, in ms: a frozen function does not notice that they broke. */
const IDLE_MS_MAX = 60_000;

/** Longest query, in ms, before it is retried. */
const QUERY_MS_MAX = 15_000;

/** One call of a function. */
export type Invocation = {
  /** The id in the platform's logs. */
  readonly id: string;
  /** When the platform ends it, on the clock of `performance.now()`; `null` if unknown: then `REQUEST_TIMEOUT_MS` from its start. */
  readonly deadlineAt: number | null;
};

/** When the work of an invocation must end. */
export type InvocationTime = {
  /** Aborted shortly before the deadline. */
  readonly signal: AbortSignal;
  /** On the clock of `performance.now()`. */
  readonly deadlineAt: number;
};

/**
 * Runs the handler inside a function. The first event opens it, and it stays open while the function is warm. No transaction stays open
 * after an invocation: a platform can freeze a function as soon as it has responded, and an open transaction would keep its locks until
 * the function is thawed.
 */
export class FunctionRuntime {
  private readonly name: string;
  private readonly env: Readonly<Record<string, string | undefined>>;
  private readonly queryMsMax: number;
  private opening: Promise<FunctionContext> | null = null;
  /** The settings of a context that was idle too long. After a failure all settings are read again, the database secret too. */
  private earlierConfig: FunctionConfig | null = null;
  /** Why the latest call of `settle` did not settle all records; `null` if it did, or if the reason is unknown. */
  problem: string | null = null;
  private running = 0;
  private lastUsedAt = moment();
  /** Whether work of an ended invocation can still be running. */
  private hasLeftovers = false;

  /** `queryMsMax`: longest query, in ms, before it is retried; 0 waits until the deadline. */
  constructor(name: string, env: Readonly<Record<string, string | undefined>>, queryMsMax = QUERY_MS_MAX) {
    this.name = name;
    this.env = env;
    this.queryMsMax = queryMsMax;
  }

  /**
   * Settles records in their order, in batches. Returns how many, from the first on, are settled and committed. The caller must have the
   * rest delivered again: near the deadline no batch is started, and the running one is aborted.
   */
  async settle(records: readonly ReadRecord[], invocation: Invocation): Promise<number> {
    return this.run(invocation, async (context, { signal, deadlineAt }) => {
      const startedAt = performance.now();
      let settled = 0;
      while (settled < records.length && performance.now() < deadlineAt - START_MS) {
        const batch = records.slice(settled, settled + context.config.BATCH_SIZE);
        try {
          await context.dispatcher.submit(batch, signal);
        } catch (error) {
          if (errorCode(error) !== STOPPING) throw error;
          break;
        }
        settled += batch.length;
      }
      this.problem =
        settled < records.length
          ? (context.dispatcher.lastFailure ?? context.dispatcher.problems[0]?.reason ?? null)
          : null;
      const line = { records: records.length, settled, milliseconds: performance.now() - startedAt };
      const counted = context.metrics.flush();
      context.logger.info({ invocation: invocation.id, ...line, outcomes: outcomesOf(counted) }, 'A batch');
      return settled;
    });
  }

  /**
   * Runs `work` with the runtime. The signal is aborted shortly before the deadline. Work that has not ended soon after that is rolled
   * back by the database, and this throws `not_in_time`.
   */
  async run<T>(
    invocation: Invocation,
    work: (context: FunctionContext, time: InvocationTime) => Promise<T>,
  ): Promise<T> {
    this.running += 1;
    const startedAt = performance.now();
    const stop = new AbortController();
    let rejectOnDeadline: (error: Error) => void = () => {};
    // OpenWhisk's Node 20 has no Promise.withResolvers.
    const deadlinePassed = new Promise<never>((_, reject) => {
      rejectOnDeadline = reject;
    });
    let timer: NodeJS.Timeout | undefined;
    let context: FunctionContext | null = null;
    let isComplete = false;
    try {
      context = await this.opened();
      const deadlineAt = invocation.deadlineAt ?? startedAt + context.config.REQUEST_TIMEOUT_MS;
      const abort = () => {
        stop.abort();
        timer = setTimeout(() => rejectOnDeadline(this.notInTime()), GRACE_MS);
      };
      timer = setTimeout(abort, Math.max(0, deadlineAt - ABORT_MS - performance.now()));
      const result = await Promise.race([work(context, { signal: stop.signal, deadlineAt }), deadlinePassed]);
      isComplete = !stop.signal.aborted;
      return result;
    } catch (error) {
      throw withFunctionName(this.name, error);
    } finally {
      clearTimeout(timer);
      this.running -= 1;
      this.lastUsedAt = moment();
      context?.metrics.flush();
      // Work can still be running after a failure or an abort. The last running invocation then closes the context.
      if (context !== null && !isComplete) this.hasLeftovers = true;
      if (context !== null && this.hasLeftovers && this.running === 0) await this.dispose(context);
    }
  }

  /** Opens the runtime before the first call. Throws if the settings are wrong. */
  async open(): Promise<void> {
    this.running += 1;
    await this.opened().finally(() => {
      this.running -= 1;
      this.lastUsedAt = moment();
    });
  }

  /** Closes the runtime unless an invocation is running. */
  async close(): Promise<void> {
    const context = await this.opening?.catch(() => null);
    if (context && this.running === 0) await this.dispose(context);
  }

  /** Synchronous up to the assignment of `opening`, so that concurrent calls share one context. */
  private opened(): Promise<FunctionContext> {
    const { opening: earlier } = this;
    const wasIdle = this.running === 1 && elapsedMs(this.lastUsedAt) > IDLE_MS_MAX;
    if (earlier !== null && !wasIdle) return earlier;
    const opening = earlier === null ? this.build() : earlier.then((context) => this.replace(context));
    this.opening = opening;
    opening.catch(() => {
      this.opening = null;
    });
    return opening;
  }

  /** Closes a context that was idle too long, and opens another with the same settings. */
  private async replace({ dispatcher, terminate, config }: FunctionContext): Promise<FunctionContext> {
    dispatcher.abort();
    await terminate();
    this.earlierConfig = config;
    return this.build();
  }

  private async build(): Promise<FunctionContext> {
    const { earlierConfig } = this;
    this.earlierConfig = null;
    // Loaded with the first event, so that a function that has had none starts fast and stays small.
    const { openFunction } = await import('./open-function.ts');
    return openFunction(this.name, this.env, this.queryMsMax, earlierConfig);
  }

  /** Closes the context; the next event opens another. */
  private async dispose({ dispatcher, terminate }: FunctionContext): Promise<void> {
    this.opening = null;
    this.hasLeftovers = false;
    dispatcher.abort();
    await terminate();
  }

  private notInTime(): TollwayError {
    const message = `${this.name}: expected to finish in time, was aborted shortly before the deadline`;
    return new TollwayError('not_in_time', message, { retryable: true });
  }
}

/** Adds the function's name to an error of the database or the network, whose own message can be empty if a host has several addresses. */
function withFunctionName(name: string, error: unknown): unknown {
  if (error instanceof TollwayError || errorCode(error) === undefined) return error;
  return new TollwayError('dependency_failed', `${name}: ${errorMessage(error)}`, { cause: error });
}

/** Number of records by outcome, as in `{ charged: 998, invalid: 2 }`. */
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
