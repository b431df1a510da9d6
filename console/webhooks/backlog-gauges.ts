import { errorMessage } from '../../common/errors.ts';
import type { Pool } from '../../common/postgres/postgres.ts';
import { sleep } from '../../common/process.ts';
import type { Gauge } from '../../common/telemetry/metric-list.ts';
import type { ThrottledLog } from '../../common/telemetry/throttled-log.ts';
import { BACKLOG_STATES, readWebhookBacklog } from '../../ledger/webhooks/backlog.ts';

/** Time between two reads, in ms. */
const READ_MS = 15_000;

export type BacklogMetrics = {
  readonly webhookBacklog: Gauge<'state'> & { remove(labels: { state: string }): void };
  readonly webhookOldestAge: Gauge<'state'> & { remove(labels: { state: string }): void };
};

/** Reads the gauges of the backlog every 15 s, until `stop` is aborted. While the database does not answer, they are absent. */
export async function runBacklogGauges(
  pool: Pool,
  metrics: BacklogMetrics,
  { stop, log }: { readonly stop: AbortSignal; readonly log: ThrottledLog },
): Promise<void> {
  for (; !stop.aborted; await sleep(READ_MS, stop)) {
    try {
      for (const { state, deliveries, oldestSeconds } of await readWebhookBacklog(pool)) {
        metrics.webhookBacklog.set({ state }, deliveries);
        metrics.webhookOldestAge.set({ state }, oldestSeconds);
      }
    } catch (error) {
      if (stop.aborted) return;
      log.fail({ problem: errorMessage(error) });
      for (const state of BACKLOG_STATES) {
        metrics.webhookBacklog.remove({ state });
        metrics.webhookOldestAge.remove({ state });
      }
    }
  }
}
