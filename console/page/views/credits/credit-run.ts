import { ApiError, type Attempts, post } from '../../api.ts';
import { type CreditAnswer, CreditResult } from './credit-result.ts';

/** Most clicks of a request, as the API allows. */
export const REQUEST_CLICKS_MAX = 1_000;
/** Waits before a request is repeated that the console could not answer, in ms. */
const RETRY_MS = [1_000, 2_000, 4_000, 8_000] as const;

/**
 * - `sending`: requests are sent, one after the other. `stopping`: the last one is.
 * - `stopped`: by the user; `failed`: by `error`. `send` continues with the clicks that are left.
 * - `done`: all clicks were sent.
 */
export type RunState = 'sending' | 'stopping' | 'stopped' | 'failed' | 'done';

/**
 * Credits the clicks of a list, `REQUEST_CLICKS_MAX` with each request, and counts what became of them. A request whose answer is lost is
 * repeated with the same `Idempotency-Key`, also after `failed`, so the first answer comes and is counted once.
 */
export class CreditRun {
  readonly clickIds: readonly string[];
  readonly result = new CreditResult();
  state: RunState = 'stopped';
  /** Clicks whose request was answered. */
  sent = 0;
  /** Why the last request failed; `null` if it did not. While `sending`, it is repeated. */
  error: Error | null = null;
  private readonly advertiserId: number;
  private readonly onChange: () => void;
  private readonly attempts: Attempts = new Map();
  private stopping = new AbortController();

  constructor(advertiserId: number, clickIds: readonly string[], onChange: () => void) {
    this.advertiserId = advertiserId;
    this.clickIds = clickIds;
    this.onChange = onChange;
  }

  /** Clicks that are left. */
  get left(): number {
    return this.clickIds.length - this.sent;
  }

  /** Sends the clicks that are left. Never rejects: `state` says how it ended. */
  async send(): Promise<void> {
    if (this.state === 'sending' || this.state === 'stopping') return;
    this.stopping = new AbortController();
    this.change('sending', null);
    try {
      while (this.left > 0 && !this.stopping.signal.aborted) await this.sendSome();
      this.change(this.left === 0 ? 'done' : 'stopped', null);
    } catch (error) {
      this.change('failed', error as Error);
    }
  }

  /** Sends no further request. One that is under way is waited for, so that its clicks are counted. */
  stop(): void {
    if (this.state !== 'sending') return;
    this.change('stopping', this.error);
    this.stopping.abort();
  }

  private async sendSome(): Promise<void> {
    const clickIds = this.clickIds.slice(this.sent, this.sent + REQUEST_CLICKS_MAX);
    const body = { clickIds, advertiserId: this.advertiserId };
    for (let failures = 0; ; failures += 1) {
      try {
        this.result.add(await post<CreditAnswer>('/v1/credits', body, this.attempts));
        this.sent += clickIds.length;
        return this.change(this.state, null);
      } catch (error) {
        const waitMs = RETRY_MS[failures];
        if (waitMs === undefined || !isTransient(error) || this.state !== 'sending') throw error;
        this.change('sending', error as Error);
        await wait(waitMs, this.stopping.signal);
        if (this.stopping.signal.aborted) throw error;
      }
    }
  }

  private change(state: RunState, error: Error | null): void {
    this.state = state;
    this.error = error;
    this.onChange();
  }
}

/** Whether the console or its database may answer soon. */
function isTransient(error: unknown): boolean {
  return error instanceof ApiError && [0, 408, 429, 502, 503, 504].includes(error.status);
}

/** Waits, but not longer than until the signal. */
function wait(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) return resolve();
    const timer = setTimeout(resolve, ms);
    signal.addEventListener('abort', () => {
      clearTimeout(timer);
      resolve();
    });
  });
}
