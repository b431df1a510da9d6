import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { type Client, createClient, inTransaction, RolledBack } from '../../../common/postgres/postgres.ts';
import { addAdvertiser } from '../../../ledger/accounts/advertisers.ts';
import { emit, WEBHOOKS_CHANNEL } from '../../../ledger/webhooks/emit.ts';
import { testDatabase } from '../../support/database.ts';
import { addWebhook, takeEvents } from '../../support/webhook-events.ts';

const database = testDatabase();
let listener: Client;
let notifications = 0;

beforeAll(async () => {
  listener = createClient(database.url, 'test listener');
  await listener.connect();
  listener.on('notification', () => {
    notifications += 1;
  });
  await listener.query(`listen ${WEBHOOKS_CHANNEL}`);
});
afterAll(() => listener.end());
beforeEach(async () => {
  await database.pool.query("update webhook set status = 'archived'");
  await takeEvents(database.pool);
  notifications = 0;
});

const waiting = { type: 'dead_letters.waiting', advertiserId: null, data: { count: 1 } } as const;

/** An event of an advertiser. */
function started(advertiserId: number) {
  const campaign = { advertiserId, advertiserName: 'a', campaignId: 1, campaignName: 'c', externalId: null };
  return {
    type: 'campaign.started',
    advertiserId,
    data: { ...campaign, startsAt: null, endsAt: null },
  } as const;
}

async function deliveries(): Promise<[number, string][]> {
  const { rows } = await database.pool.query<{ webhookId: number; type: string }>(
    `select webhook_id as "webhookId", type from webhook_delivery join webhook_event on event_id = id
     where webhook_delivery.advertiser_id is not distinct from webhook_event.advertiser_id and status = 'pending'
     order by webhook_id, id`,
  );
  return rows.map(({ webhookId, type }) => [webhookId, type]);
}

describe('an event', () => {
  it('is delivered to the active webhooks that subscribe to its type and to its advertiser', async () => {
    const one = await addAdvertiser(database.pool, 'one', 'USD');
    const other = await addAdvertiser(database.pool, 'other', 'USD');
    const all = await addWebhook(database.pool);
    const lettersOnly = await addWebhook(database.pool, {
      eventTypes: ['dead_letters.waiting', 'budget.low'],
    });
    const ofOne = await addWebhook(database.pool, { advertiserId: one.id });
    await addWebhook(database.pool, { status: 'paused' });
    await inTransaction(database.pool, async (connection) => {
      await emit(connection, started(one.id));
      await emit(connection, started(other.id));
      await emit(connection, waiting);
    });
    expect(await deliveries()).toEqual([
      [all, 'campaign.started'],
      [all, 'campaign.started'],
      [all, 'dead_letters.waiting'],
      [lettersOnly, 'dead_letters.waiting'],
      [ofOne, 'campaign.started'],
    ]);
    expect(await takeEvents(database.pool)).toEqual([started(one.id), started(other.id), waiting]);
    await expect.poll(() => notifications).toBe(1);
  });

  it('is stored without a webhook too, and then wakes no console', async () => {
    await inTransaction(database.pool, (connection) => emit(connection, waiting));
    const unnoticed = notifications;
    await addWebhook(database.pool);
    await inTransaction(database.pool, (connection) => emit(connection, waiting));
    await expect.poll(() => notifications).toBe(1);
    expect(unnoticed).toBe(0);
    expect(await takeEvents(database.pool)).toEqual([waiting, waiting]);
  });

  it('does not exist after a rollback', async () => {
    await addWebhook(database.pool);
    await inTransaction(database.pool, async (connection) => {
      await emit(connection, waiting);
      return new RolledBack(undefined);
    });
    expect([await deliveries(), await takeEvents(database.pool)]).toEqual([[], []]);
  });

  it('of an advertiser of a load test is not stored', async () => {
    const { id } = await addAdvertiser(database.pool, 'load', 'USD', 'UTC', true);
    await inTransaction(database.pool, (connection) => emit(connection, started(id)));
    expect(await takeEvents(database.pool)).toEqual([]);
  });
});
