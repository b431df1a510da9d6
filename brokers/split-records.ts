import type { BrokerRecord } from '../contract/click-event.ts';

/** Limits of one call to a broker. `overhead`: bytes of a record besides its key and value. */
export type CallLimits = { readonly records: number; readonly bytes: number; readonly overhead: number };

/** Splits records into calls, in their order. A record that exceeds the limits by itself gets its own call. */
export function splitRecords(records: readonly BrokerRecord[], limits: CallLimits): BrokerRecord[][] {
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
