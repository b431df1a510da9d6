import type { BrokerRecord } from '../contract/click-event.ts';

/** What one call to a broker may carry. `overhead` is what a record takes beside its key and value, in bytes. */
export type CallLimits = { readonly records: number; readonly bytes: number; readonly overhead: number };

/** Cuts records into calls, in order. A record that is too large by itself has a call of its own. */
export function cutRecords(records: readonly BrokerRecord[], limits: CallLimits): BrokerRecord[][] {
  const calls: BrokerRecord[][] = [];
  let bytes = 0;
  for (const record of records) {
    const size = (record.value?.length ?? 0) + (record.key?.length ?? 0) + limits.overhead;
    const last = calls.at(-1);
    if (!last || last.length >= limits.records || bytes + size > limits.bytes) {
      calls.push([record]);
      bytes = size;
    } else {
      last.push(record);
      bytes += size;
    }
  }
  return calls;
}
