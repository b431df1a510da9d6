import { BLOCKED, STOPPING, type SubmitOptions } from '../../brokers/event-source.ts';
import { counted } from '../../common/counted.ts';
import { TollwayError } from '../../common/errors.ts';
import type { ReadRecord } from '../../contract/click-event.ts';

/** What one call of `submit` waits for. */
export type Submission = {
  unsettled: number;
  /** Clicks of blocked advertisers among the unsettled, given back at the end; `null` where they are kept until they can be charged. */
  givenBack: number | null;
  over: boolean;
  readonly end: (error?: unknown) => void;
};
/** Records of one delivery that go the same lane. */
export type Share = { readonly submission: Submission; readonly records: readonly ReadRecord[] };

/** Opens a delivery. Here, so that what it keeps alive are not the records of the whole delivery. */
export function openDelivery(
  count: number,
  signal: AbortSignal | undefined,
  options: SubmitOptions | undefined,
): { submission: Submission; done: Promise<void> } {
  // By hand: OpenWhisk's Node 20 has no Promise.withResolvers.
  let settle: (error?: unknown) => void = () => {};
  const done = new Promise<void>((resolve, reject) => {
    settle = (error) => (error === undefined ? resolve() : reject(error));
  });
  const onAbort = () => submission.end(stopped());
  const submission: Submission = {
    unsettled: count,
    givenBack: options?.abandonBlocked ? 0 : null,
    over: false,
    end: (error) => {
      if (submission.over) return;
      submission.over = true;
      signal?.removeEventListener('abort', onAbort);
      settle(error);
    },
  };
  signal?.addEventListener('abort', onAbort);
  return { submission, done };
}

/** Notes that records of a delivery are settled, and ends it after the last. */
export function settleShare(submission: Submission, count: number): void {
  submission.unsettled -= count;
  const givenBack = submission.givenBack ?? 0;
  if (submission.unsettled > givenBack) return;
  const message = `${counted(givenBack, 'click waits', 'clicks wait')} for advertisers whose rows another session keeps locked`;
  submission.end(givenBack === 0 ? undefined : new TollwayError(BLOCKED, message, { retryable: true }));
}

/** The error of records that are given back because the host or their source stops. */
export function stopped(): TollwayError {
  return new TollwayError(STOPPING, 'Stopped before the batch was settled', { retryable: true });
}
