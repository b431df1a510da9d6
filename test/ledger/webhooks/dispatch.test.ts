import { beforeEach, describe, expect, it } from 'vitest';
import { listDeliveries, replayDelivery } from '../../../ledger/webhooks/deliveries.ts';
import {
  giveUpOld,
  makeAllDue,
  pauseGone,
  readDueDeliveries,
  recordDelivered,
  recordFailure,
} from '../../../ledger/webhooks/dispatch.ts';
import {
  leaseWebhooks,
  releaseLease,
  renewLeases,
  type WebhookLease,
} from '../../../ledger/webhooks/leases.ts';
import { addWebhook } from '../../../ledger/webhooks/webhooks.ts';
import { testDatabase } from '../../support/database.ts';
import { emitNumber } from '../../support/webhooks-fixture.ts';

const database = testDatabase();
const ALL = { after: -1, except: [], limit: 10 };
const FAILED = { durationMs: 1, statusCode: 500, error: 'Expected a status of 200–299, got 500' };
const RETRY = { delayMs: 1_000, webhookDelayMs: 1_000, failures: 1 };

let webhookId: number;
let eventId: bigint;
beforeEach(async () => {
  await database.pool.query('delete from webhook_event');
  await database.pool.query('delete from webhook_progress; delete from webhook');
  ({
    webhook: { id: webhookId },
  } = await addWebhook(database.pool, { url: 'https://example.com/' }, 'public'));
  await emitNumber(database.pool, null, 1);
  const { rows } = await database.pool.query<{ id: bigint }>('select event_id as id from webhook_delivery');
  eventId = rows[0]?.id ?? 0n;
});

async function lease(): Promise<WebhookLease> {
  const [leased] = await leaseWebhooks(database.pool, { isFailing: false, limit: 1 });
  if (!leased) throw new Error('Expected a lease');
  return leased;
}

/** What is stored about the webhook and its delivery. */
async function stored(): Promise<unknown> {
  const { rows } = await database.pool.query(
    `select webhook.status, to_jsonb(progress) as progress, to_jsonb(delivery) as delivery, (select count(*) from webhook_attempt) as attempts
     from webhook join webhook_progress progress on webhook_id = id join webhook_delivery delivery using (webhook_id)`,
  );
  return rows;
}

describe('a console that has lost its lease to another one', () => {
  it.each<[string, (lost: WebhookLease) => Promise<unknown>, unknown]>([
    ['reads nothing', (lost) => readDueDeliveries(database.pool, lost, ALL), null],
    [
      'records no success',
      (lost) => recordDelivered(database.pool, lost, eventId, { ...FAILED, error: null }, true),
      false,
    ],
    ['records no failure', (lost) => recordFailure(database.pool, lost, eventId, FAILED, RETRY), null],
    ['makes nothing due', (lost) => makeAllDue(database.pool, lost), undefined],
    ['gives nothing up', (lost) => giveUpOld(database.pool, lost), 0],
    ['does not pause the webhook', (lost) => pauseGone(database.pool, lost), false],
    ['renews no lease', ({ leaseId }) => renewLeases(database.pool, [leaseId]), []],
    ['releases no lease', (lost) => releaseLease(database.pool, lost, 7), undefined],
  ])('%s', async (_, work, result) => {
    const lost = await lease();
    await database.pool.query("update webhook_progress set leased_until = now() - interval '1 second'");
    expect(await lease()).toMatchObject({ webhookId });
    // All of it would be done under the lease: the event waits for its retry, and the target has failed for long.
    await database.pool.query(
      `update webhook_delivery set next_attempt_at = now() + interval '1 hour', queued_at = now() - interval '4 days'`,
    );
    await database.pool.query("update webhook_progress set failing_since = now() - interval '4 days'");
    const before = await stored();
    expect(await work(lost)).toEqual(result);
    expect(await stored()).toEqual(before);
  });
});

describe('an event is given up', () => {
  it.each([
    ['after three days of a target that fails as long', '3 days', '3 days', 1],
    ['not before, though the target fails for longer', '2 days 23 hours', '9 days', 0],
    ['not yet, if it waited for a paused webhook, and the target fails only now', '9 days', '1 minute', 0],
  ])('%s', async (_, waited, failing, count) => {
    const held = await lease();
    await database.pool.query('update webhook_delivery set queued_at = now() - $1::interval', [waited]);
    await database.pool.query('update webhook_progress set failing_since = now() - $1::interval', [failing]);
    expect(await giveUpOld(database.pool, held)).toBe(count);
  });
});

describe('the last attempt', () => {
  const endIn = (interval: string) =>
    database.pool.query('update webhook_delivery set expires_at = now() + $1::interval', [interval]);

  it('is made when three days have passed, though the pause before it would be longer', async () => {
    const held = await lease();
    await endIn('10 minutes');
    const retry = { ...RETRY, delayMs: 3_600_000 };
    expect(await recordFailure(database.pool, held, eventId, FAILED, retry)).toBe('retry');
    const { rows } = await database.pool.query(
      'select next_attempt_at = expires_at as last from webhook_delivery',
    );
    expect(rows).toEqual([{ last: true }]);
    await endIn('0 seconds');
    expect(await recordFailure(database.pool, held, eventId, FAILED, retry)).toBe('expired');
    expect(await listDeliveries(database.pool, webhookId, { limit: 1 })).toMatchObject([
      { status: 'failed', attempts: 2 },
    ]);
  });

  it('is no longer the next one after a replay', async () => {
    await endIn('-1 day');
    await database.pool.query("update webhook_delivery set status = 'failed', finished_at = now()");
    await replayDelivery(database.pool, webhookId, eventId);
    const held = await lease();
    expect(await recordFailure(database.pool, held, eventId, FAILED, RETRY)).toBe('retry');
  });
});
