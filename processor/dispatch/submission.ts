import { ADVERTISER_LOCKED, STOPPING, type SubmitOptions } from '../../brokers/event-source.ts';
import { counted } from '../../common/counted.ts';
import { TollwayError } from '../../common/errors.ts';
import type { ReadRecord } from '../../contract/click-event.ts';

/** The state of one call of `submit`. */
export type Submission = {
  unsettled: number;
  /** Clicks of locked advertisers that were abandoned; `null` where such clicks are set aside until they can be charged. */
  abandoned: number | null;
  ended: boolean;
  /** Resolves the promise of `submit`, or rejects it with `error`. Only the first call counts. */
  readonly end: (error?: unknown) => void;
};

/** The records of one submission that go to the same lane. */
export type Share = { readonly submission: Submission; readonly records: readonly ReadRecord[] };

/** Opens a submission of `count` records. It does not refer to the records, so that settled ones can be freed before it ends. */
export function openSubmission(
  count: number,
  signal: AbortSignal | undefined,
  options: SubmitOptions | undefined,
): { submission: Submission; done: Promise<void> } {
  // OpenWhisk's Node 20 has no Promise.withResolvers.
  let settle: (error?: unknown) => void = () => {};
  const done = new Promise<void>((resolve, reject) => {
    settle = (error) => (error === undefined ? resolve() : reject(error));
  });
  const onAbort = () => submission.end(stoppingError());
  const submission: Submission = {
    unsettled: count,
    abandoned: options?.abandonLocked ? 0 : null,
    ended: false,
    end: (error) => {
      if (submission.ended) return;
      submission.ended = true;
      signal?.removeEventListener('abort', onAbort);
      settle(error);
    },
  };
  signal?.addEventListener('abort', onAbort);
  return { submission, done };
}

/** Counts `count` records as settled, and ends the submission after the last. */
export function settleShare(submission: Submission, count: number): void {
  submission.unsettled -= count;
  const abandoned = submission.abandoned ?? 0;
  if (submission.unsettled > abandoned) return;
  const message = `${counted(abandoned, 'click waits', 'clicks wait')}, because another session keeps rows of their advertisers locked`;
  submission.end(
    abandoned === 0 ? undefined : new TollwayError(ADVERTISER_LOCKED, message, { retryable: true }),
  );
}

/** The error that returns records unsettled to their source when the dispatcher or the source stops. */
export function stoppingError(): TollwayError {
  return new TollwayError(STOPPING, 'Stopped before the batch was settled', { retryable: true });
}
