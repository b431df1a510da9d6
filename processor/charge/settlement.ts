import type { ReadRecord } from '../../contract/click-event.ts';
import { identityOf, type Rejection, type RejectReason } from '../../ledger/charge/dead-letters.ts';
import type { SettledClick } from '../../ledger/charge/ledger-rows.ts';
import type { Verdict } from '../../ledger/charge/outcome.ts';
import type { AdvertiserBalance } from '../../ledger/charge-locks.ts';
import type { SpoolCounts } from '../../ledger/spools/counters.ts';

/** The result of one record: the outcome of a click, or `duplicate` or `watermark`, which settle nothing. */
export type RecordResult =
  | Verdict
  | { readonly outcome: 'rejected'; readonly reason: RejectReason }
  | { readonly outcome: 'duplicate'; readonly reason: null }
  | { readonly outcome: 'watermark'; readonly reason: null };

/** In the currency of the advertiser. */
export type OverDelivery = { readonly currency: string; readonly micros: bigint };

/** The result of a committed batch. */
export type Settlement = {
  /** The result of each record, in the order of the batch. */
  readonly outcomes: readonly RecordResult[];
  /**
   * Value of the over-budget clicks that were recorded before the budget was flagged as exhausted, by advertiser id. Advertisers of load
   * tests are absent.
   */
  readonly overDelivery: ReadonlyMap<number, OverDelivery>;
  /** Number of duplicates that supplied the record key that the settled click lacked. */
  readonly lateKeys: number;
};

const DUPLICATE: RecordResult = { outcome: 'duplicate', reason: null };
const WATERMARK: RecordResult = { outcome: 'watermark', reason: null };

/**
 * The result of each record of a batch. `positions` has the index in the batch of each click in `settled`; `null` if `settled` has the
 * order of the batch. `inserted` has the identities of the rejected records that got a dead letter.
 */
export function outcomesOf(
  batch: readonly ReadRecord[],
  positions: readonly number[] | null,
  settled: readonly SettledClick[],
  rejections: readonly Rejection[],
  inserted: ReadonlySet<string>,
): RecordResult[] {
  if (settled.length === batch.length) {
    // The usual case: every record is a click that was settled now.
    const verdicts: RecordResult[] = settled.map(({ verdict }) => verdict);
    if (positions === null) return verdicts;
    const outcomes = [...verdicts];
    for (const [index, position] of positions.entries()) outcomes[position] = verdicts[index] ?? DUPLICATE;
    return outcomes;
  }
  // Keyed by the record object and not by its id: of two copies in one batch, one has the outcome and the other is a duplicate.
  const outcomes = new Map<ReadRecord, RecordResult>();
  for (const { record, verdict } of settled) outcomes.set(record, verdict);
  for (const { record, reason } of rejections) {
    if (inserted.has(identityOf(record))) outcomes.set(record, { outcome: 'rejected', reason });
  }
  return batch.map((record) => (record.is === 'watermark' ? WATERMARK : (outcomes.get(record) ?? DUPLICATE)));
}

/** Sums the over-budget clicks that the ad server recorded while the budget was not flagged as exhausted, without those of load tests. */
export function overDeliveryOf(
  settled: readonly SettledClick[],
  advertisers: ReadonlyMap<number, AdvertiserBalance>,
): Map<number, OverDelivery> {
  const sums = new Map<number, OverDelivery>();
  for (const { record, verdict } of settled) {
    const { budgetExhausted, held } = record.click;
    if (verdict.outcome !== 'over_budget' || budgetExhausted || held) continue;
    const { advertiserId, priceMicros } = record.click;
    const { currency = '', isTest = false } = advertisers.get(advertiserId) ?? {};
    if (isTest) continue;
    const before = sums.get(advertiserId)?.micros ?? 0n;
    sums.set(advertiserId, { currency, micros: before + BigInt(priceMicros) });
  }
  return sums;
}

/** Number of late keys among the counters that `settleLateKeys` returned. */
export function countLateKeys(counters: readonly SpoolCounts[]): number {
  return counters.filter(({ spoolId }) => spoolId !== null).length;
}
