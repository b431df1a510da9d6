import type { ReadRecord } from '../../contract/click-event.ts';

/** A limit on the records that the dispatcher holds. */
export type CapacityLimit = { readonly records: number; readonly bytes: number };

type Count = { records: number; bytes: number };

/**
 * Counts the records that the dispatcher has accepted and not yet settled, and lets sources wait until there is capacity for more. Clicks
 * that are set aside because their advertiser is locked count against a limit of their own, so that they do not block the others.
 */
export class Capacity {
  private readonly activeMax: CapacityLimit;
  private readonly asideMax: CapacityLimit;
  private readonly active: Count = { records: 0, bytes: 0 };
  private readonly aside: Count = { records: 0, bytes: 0 };
  private wakers: (() => void)[] = [];

  constructor(activeMax: CapacityLimit, asideMax: CapacityLimit) {
    this.activeMax = activeMax;
    this.asideMax = asideMax;
  }

  /** Records set aside. */
  get recordsAside(): number {
    return this.aside.records;
  }

  /** Resolves as soon as both limits allow more records, or one of the signals is aborted. */
  async wait(...signals: (AbortSignal | undefined)[]): Promise<void> {
    while (this.isFull() && !signals.some((signal) => signal?.aborted)) {
      await new Promise<void>((resolve) => {
        const wake = () => {
          for (const signal of signals) signal?.removeEventListener('abort', wake);
          resolve();
        };
        this.wakers.push(wake);
        for (const signal of signals) signal?.addEventListener('abort', wake);
      });
    }
  }

  accept(records: readonly ReadRecord[]): void {
    count(this.active, records, 1);
  }

  release(records: readonly ReadRecord[]): void {
    count(this.active, records, -1);
    this.wake();
  }

  setAside(records: readonly ReadRecord[]): void {
    count(this.active, records, -1);
    count(this.aside, records, 1);
    this.wake();
  }

  resume(records: readonly ReadRecord[]): void {
    count(this.aside, records, -1);
    count(this.active, records, 1);
    this.wake();
  }

  /** Releases records that were set aside and will not be settled by this dispatcher. */
  releaseAside(records: readonly ReadRecord[]): void {
    count(this.aside, records, -1);
    this.wake();
  }

  private isFull(): boolean {
    return isReached(this.active, this.activeMax) || isReached(this.aside, this.asideMax);
  }

  private wake(): void {
    const wakers = this.wakers;
    this.wakers = [];
    for (const wake of wakers) wake();
  }
}

function count(counts: Count, records: readonly ReadRecord[], sign: 1 | -1): void {
  let bytes = 0;
  for (const record of records) bytes += record.valueBytes ?? record.value?.length ?? 0;
  counts.records += sign * records.length;
  counts.bytes += sign * bytes;
}

function isReached(counts: Count, max: CapacityLimit): boolean {
  return counts.records >= max.records || counts.bytes >= max.bytes;
}
