import { NO_ANSWER_MS, type Part } from './parts.ts';

/** Whether the database takes the reports of parts. If it does not, a missing report says nothing about its part. */
export type ReportingState = {
  /** Whether it took reports for all of the last {@link NO_ANSWER_MS}. */
  readonly isProven: boolean;
  /** Why it takes none, and for how long, in ms; `null` unless that has lasted for {@link NO_ANSWER_MS}. */
  readonly failure: { readonly reason: string; readonly forMs: number } | null;
};

/** What a process knows from its own reports. Measures time with the monotonic clock. */
export class OwnReports {
  #takenSince: number | null = null;
  #failing: { reason: string; since: number } | null = null;

  succeed(): void {
    this.#takenSince ??= performance.now();
    this.#failing = null;
  }

  fail(reason: string): void {
    this.#takenSince = null;
    this.#failing = { reason, since: this.#failing?.since ?? performance.now() };
  }

  state(): ReportingState {
    const now = performance.now();
    const isProven = this.#takenSince !== null && now - this.#takenSince >= NO_ANSWER_MS;
    const forMs = this.#failing === null ? 0 : now - this.#failing.since;
    if (this.#failing === null || forMs < NO_ANSWER_MS) return { isProven, failure: null };
    return { isProven, failure: { reason: this.#failing.reason, forMs } };
  }
}

/** What follows from the reports of others, for a process that does not report itself: that one of them was taken lately. */
export function reportsOfOthers(asOf: Date, parts: readonly Pick<Part, 'reportedAt'>[]): ReportingState {
  const forMs = asOf.getTime() - Math.max(...parts.map(({ reportedAt }) => reportedAt.getTime()));
  if (parts.length === 0 || forMs < NO_ANSWER_MS) return { isProven: true, failure: null };
  return { isProven: false, failure: { reason: 'none has reported, so none may run', forMs } };
}

/** The parts, where one that has not reported is `unknown` unless it could have reported. */
export function judgeParts(parts: readonly Part[], { isProven }: ReportingState): readonly Part[] {
  if (isProven) return parts;
  return parts.map((part): Part => (part.state === 'no_answer' ? { ...part, state: 'unknown' } : part));
}
