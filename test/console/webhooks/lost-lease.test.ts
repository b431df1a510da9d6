import { beforeEach, describe, expect, it, onTestFinished } from 'vitest';
import { createMetrics } from '../../../common/telemetry/metrics.ts';
import { ThrottledLog } from '../../../common/telemetry/throttled-log.ts';
import { WebhookDispatcher } from '../../../console/webhooks/dispatcher.ts';
import type { SendResult } from '../../../console/webhooks/send.ts';
import { WebhookWorker, type WorkerDeps } from '../../../console/webhooks/webhook-worker.ts';
import { listDeliveries } from '../../../ledger/webhooks/deliveries.ts';
import { LEASE_MS, leaseWebhooks } from '../../../ledger/webhooks/leases.ts';
import { addWebhook } from '../../../ledger/webhooks/webhooks.ts';
import { testDatabase } from '../../support/database.ts';
import { silent } from '../../support/loggers.ts';
import { until } from '../../support/until.ts';
import { emitNumber } from '../../support/webhooks-fixture.ts';

const database = testDatabase();
const STOPPED: SendResult = { statusCode: null, error: 'stopped', retryAfterMs: null, durationMs: 1 };

let webhookId: number;
beforeEach(async () => {
  await database.pool.query("delete from webhook_event; update webhook set status = 'archived'");
  ({
    webhook: { id: webhookId },
  } = await addWebhook(database.pool, { url: 'https://example.com/' }, 'public'));
  await emitNumber(database.pool, null, 1);
});

/** A target that answers no attempt: each goes on until the console ends it. */
function silentTarget(): { readonly signals: AbortSignal[]; readonly deps: WorkerDeps } {
  const signals: AbortSignal[] = [];
  const deps: WorkerDeps = {
    ...{ pool: database.pool, logger: silent, metrics: createMetrics('console') },
    databaseLog: new ThrottledLog(silent, { failed: 'failed', recovered: 'recovered' }),
    send: (_target, _message, signal) =>
      new Promise((resolve) => {
        signals.push(signal);
        signal.addEventListener('abort', () => resolve(STOPPED));
      }),
  };
  return { signals, deps };
}

const expectNoResult = async () =>
  expect(await listDeliveries(database.pool, webhookId, { limit: 1 })).toMatchObject([
    { status: 'pending', attempts: 0 },
  ]);

describe('an attempt in progress', () => {
  it('ends before the lease does, if nothing renews it', async () => {
    const { signals, deps } = silentTarget();
    const [lease] = await leaseWebhooks(database.pool, { isFailing: false, limit: 1 });
    if (!lease) throw new Error('Expected a lease');
    // The lease was requested long ago: it ends in 3 s.
    const endsAt = performance.now() + 3_000;
    const worker = new WebhookWorker(lease, endsAt - LEASE_MS, deps);
    await until('an attempt', () => signals.length === 1);
    await until('its end', () => signals[0]?.aborted);
    expect(performance.now()).toBeLessThan(endsAt);
    await worker.done;
    await expectNoResult();
  });

  it('ends at the next renewal, if another console has taken the lease', async () => {
    const { signals, deps } = silentTarget();
    const dispatcher = new WebhookDispatcher(deps);
    dispatcher.start();
    onTestFinished(() => dispatcher.stop());
    await until('an attempt', () => signals.length === 1);
    await database.pool.query(
      "update webhook_progress set leased_by = gen_random_uuid(), leased_until = now() + interval '1 minute'",
    );
    // Without a renewal, it would end after 14 s.
    await until('its end', () => signals[0]?.aborted, 10_000);
    await expectNoResult();
  });
});
