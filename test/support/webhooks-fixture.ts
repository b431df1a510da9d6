import { onTestFinished } from 'vitest';
import type { Pool } from '../../common/postgres/postgres.ts';
import { createMetrics, type ProcessMetrics } from '../../common/telemetry/metrics.ts';
import { startWebhooks, type WebhookDeps } from '../../console/webhooks/start-webhooks.ts';
import { emit } from '../../ledger/webhooks/emit.ts';
import type { TestDatabase } from './database.ts';
import { capturedLog } from './loggers.ts';
import { type Answer, type Receiver, startReceiver } from './webhook-receiver.ts';

/** A receiver that is closed when the test has ended. */
export async function testReceiver(answer?: Answer): Promise<Receiver> {
  const receiver = await startReceiver(answer);
  onTestFinished(() => receiver.close());
  return receiver;
}

export type TestConsole = {
  readonly metrics: ProcessMetrics;
  /** The lines of its log, from `info` up. */
  readonly lines: string[];
  readonly stop: () => Promise<void>;
};

/** The webhooks of one console, until the test has ended. Private targets are allowed. */
export function testConsole(
  database: TestDatabase,
  deps: Partial<Pick<WebhookDeps, 'rule' | 'resolve'>> = {},
): TestConsole {
  const metrics = createMetrics('console');
  const { logger, lines } = capturedLog('info');
  const webhooks = startWebhooks({
    databaseUrl: database.url,
    rule: 'private',
    metrics,
    logger,
    ...deps,
  });
  let stopped: Promise<void> | undefined;
  const stop = () => {
    stopped ??= webhooks.stop();
    return stopped;
  };
  onTestFinished(stop);
  return { metrics, lines, stop };
}

/** Emits an event of an advertiser with a number, in a transaction of its own. */
export async function emitNumber(pool: Pool, advertiserId: number | null, number: number): Promise<void> {
  const connection = await pool.connect();
  try {
    await connection.query('begin');
    await emit(connection, { type: 'dead_letters.waiting', advertiserId, data: { count: number } });
    await connection.query('commit');
  } finally {
    connection.release();
  }
}

/** The numbers of the events that a receiver got, of one advertiser or of all. */
export function numbersOf({ received }: Receiver): unknown[] {
  return received.map(({ data }) => data.count);
}

/** Lets the time pass: moves all times of the webhooks into the past. */
export async function age(pool: Pool, interval: string): Promise<void> {
  await pool.query(
    `update webhook_delivery set queued_at = queued_at - $1::interval, next_attempt_at = next_attempt_at - $1::interval,
       expires_at = expires_at - $1::interval, finished_at = finished_at - $1::interval`,
    [interval],
  );
  await pool.query(
    'update webhook_progress set retry_at = retry_at - $1::interval, failing_since = failing_since - $1::interval',
    [interval],
  );
  await pool.query('update webhook set previous_secret_until = previous_secret_until - $1::interval', [
    interval,
  ]);
}
