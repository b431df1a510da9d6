import { BLOCKED, type DeliverOptions, STOPPING } from '../brokers/event-source.ts';
import { counted } from '../common/counted.ts';
import { TollwayError } from '../common/errors.ts';
import type { ReadRecord } from '../contract/click-event.ts';

/** What one call of `deliver` waits for. */
export type Delivery = {
  unsettled: number;
  /** Clicks of blocked advertisers among the unsettled, given back at the end; `null` where they are kept until they can be charged. */
  givenBack: number | null;
  over: boolean;
  readonly end: (error?: unknown) => void;
};
/** Records of one delivery that go the same lane. */
export type Share = { readonly delivery: Delivery; readonly records: readonly ReadRecord[] };

/** Opens a delivery. Here, so that what it keeps alive are not the records of the whole delivery. */
export function openDelivery(
  count: number,
  signal: AbortSignal | undefined,
  options: DeliverOptions | undefined,
): { delivery: Delivery; done: Promise<void> } {
  // By hand: OpenWhisk's Node 20 has no Promise.withResolvers.
  let settle: (error?: unknown) => void = () => {};
  const done = new Promise<void>((resolve, reject) => {
    settle = (error) => (error === undefined ? resolve() : reject(error));
  });
  const onAbort = () => delivery.end(stopped());
  const delivery: Delivery = {
    unsettled: count,
    givenBack: options?.giveBackBlocked ? 0 : null,
    over: false,
    end: (error) => {
      if (delivery.over) return;
      delivery.over = true;
      signal?.removeEventListener('abort', onAbort);
      settle(error);
    },
  };
  signal?.addEventListener('abort', onAbort);
  return { delivery, done };
}

/** Notes that records of a delivery are settled, and ends it after the last. */
export function settleShare(delivery: Delivery, count: number): void {
  delivery.unsettled -= count;
  const givenBack = delivery.givenBack ?? 0;
  if (delivery.unsettled > givenBack) return;
  const message = `${counted(givenBack, 'click waits', 'clicks wait')} for advertisers whose rows another session keeps locked`;
  delivery.end(givenBack === 0 ? undefined : new TollwayError(BLOCKED, message, { retryable: true }));
}

/** The error of records that are given back because the host or their source stops. */
export function stopped(): TollwayError {
  return new TollwayError(STOPPING, 'Stopped before the batch was settled', { retryable: true });
}
