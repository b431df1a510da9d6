import type { Metrics } from '../../common/telemetry/metrics.ts';
import type { ReadRecord } from '../../contract/click-event.ts';
import { isForeign } from '../../ledger/charge/dead-letters.ts';
import type { Settlement } from '../charge/settlement.ts';

/** Counts a settled batch in the metrics. `seconds` is how long its transaction took; 0 leaves the duration out. */
export function countBatch(
  metrics: Metrics,
  batch: readonly ReadRecord[],
  settlement: Settlement,
  seconds: number,
): void {
  if (seconds > 0) metrics.batchDuration.observe(seconds);
  const clicks = batch.filter(({ is }) => is !== 'watermark').length;
  if (clicks > 0) metrics.batchSize.observe(clicks);
  const now = Date.now();
  const counts = new Map<string, { outcome: string; reason: string; count: number }>();
  for (const [index, record] of batch.entries()) {
    const { outcome, reason } = settlement.outcomes[index] ?? { outcome: 'duplicate', reason: null };
    if (record.is === 'watermark') continue;
    if (outcome === 'duplicate') metrics.duplicates.inc();
    else if (isForeign(record)) metrics.foreignRecords.inc();
    else {
      const key = `${outcome} ${reason}`;
      const found = counts.get(key) ?? { outcome, reason: reason ?? '', count: 0 };
      found.count += 1;
      counts.set(key, found);
      if (record.is === 'click')
        metrics.clickToCharge.observe(Math.max(0, now - record.click.clickedAt) / 1_000);
    }
  }
  for (const { outcome, reason, count } of counts.values()) metrics.clicks.inc({ outcome, reason }, count);
  for (const [advertiser, { currency, micros }] of settlement.overDelivery) {
    metrics.overDelivery.inc({ advertiser, currency }, Number(micros) / 1e6);
  }
}
