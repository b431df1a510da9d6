import { traceBatch } from '../../common/telemetry/tracing.ts';
import type { ReadRecord } from '../../contract/click-event.ts';
import type { Settlement } from './settlement.ts';

const SPAN = {
  name: 'charge clicks',
  kind: 'consumer',
  attributes: { 'messaging.operation.type': 'process', 'db.system.name': 'postgresql' },
} as const;

/** Runs the transaction of a batch in a span if a click of the batch is sampled. Throws what `charge` throws. */
export function traceCharge(
  batch: readonly ReadRecord[],
  charge: () => Promise<Settlement>,
): Promise<Settlement> {
  const traceparents = () => batch.map((record) => (record.is === 'click' ? record.click.traceparent : null));
  return traceBatch(SPAN, traceparents, charge, countOutcomes);
}

/** The number of records by outcome, as attributes such as `tollway.clicks.charged`. */
function countOutcomes({ outcomes }: Settlement): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const { outcome } of outcomes) {
    const name = `tollway.clicks.${outcome}`;
    counts[name] = (counts[name] ?? 0) + 1;
  }
  return counts;
}
