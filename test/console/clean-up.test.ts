import { beforeEach, describe, expect, it, onTestFinished } from 'vitest';
import { parseConfig } from '../../common/config/config.ts';
import { inTransaction } from '../../common/postgres/postgres.ts';
import { startTasks } from '../../console/tasks/start-tasks.ts';
import { createKey } from '../../ledger/access/api-keys.ts';
import { listDeliveries, replayDelivery } from '../../ledger/webhooks/deliveries.ts';
import { deleteOldWebhookEvents } from '../../ledger/webhooks/retention.ts';
import { addWebhook, updateWebhook } from '../../ledger/webhooks/webhooks.ts';
import { untilWaitingForLock } from '../support/charge-batch.ts';
import { testDatabase } from '../support/database.ts';
import { silent } from '../support/loggers.ts';
import { until } from '../support/until.ts';
import { age, emitNumber } from '../support/webhooks-fixture.ts';

const database = testDatabase();

beforeEach(async () => {
  await database.pool.query('delete from webhook_event');
  await database.pool.query("update webhook set status = 'archived'");
});

const add = async () =>
  (await addWebhook(database.pool, { url: 'https://example.com/' }, 'public')).webhook.id;

/** Ends the delivery of an event to a webhook, with an attempt. */
const finish = (webhookId: number) =>
  database.pool.query(
    `with attempt as (insert into webhook_attempt (webhook_id, event_id, duration_ms)
       select webhook_id, event_id, 1 from webhook_delivery where webhook_id = $1)
     update webhook_delivery set status = 'delivered', finished_at = now() where webhook_id = $1`,
    [webhookId],
  );

/** Lets the time pass, for the events too. */
async function pass(interval: string): Promise<void> {
  await age(database.pool, interval);
  await database.pool.query('update webhook_event set occurred_at = occurred_at - $1::interval', [interval]);
}

const countOf = async (table: string) =>
  Number((await database.pool.query<{ count: bigint }>(`select count(*) from ${table}`)).rows[0]?.count);

describe('events of webhooks', () => {
  it('are deleted 30 days after their last delivery ended, with deliveries and attempts', async () => {
    const [one, other] = [await add(), await add()];
    await emitNumber(database.pool, null, 1);
    await finish(one);
    await pass('20 days');
    await finish(other);
    await pass('29 days');
    expect(await deleteOldWebhookEvents(database.pool)).toBe(0);
    await pass('1 day 1 minute');
    expect(await deleteOldWebhookEvents(database.pool)).toBe(1);
    for (const table of ['webhook_event', 'webhook_delivery', 'webhook_attempt'])
      expect(await countOf(table)).toBe(0);
  });

  it('are kept while they wait for an active webhook, and given up if a paused one has let them wait for 30 days', async () => {
    const [active, paused] = [await add(), await add()];
    await emitNumber(database.pool, null, 1);
    await updateWebhook(database.pool, paused, { status: 'paused' }, 'public');
    await pass('31 days');
    expect(await deleteOldWebhookEvents(database.pool)).toBe(0);
    const statusOf = async (id: number) => (await listDeliveries(database.pool, id, { limit: 1 }))[0]?.status;
    expect([await statusOf(active), await statusOf(paused)]).toEqual(['pending', 'failed']);
  });

  it('are kept if they are replayed while they are deleted', async () => {
    const webhookId = await add();
    await emitNumber(database.pool, null, 1);
    await finish(webhookId);
    await pass('31 days');
    const [old] = await listDeliveries(database.pool, webhookId, { limit: 1 });
    let deletion: Promise<number> | undefined;
    await inTransaction(database.pool, async (connection) => {
      await replayDelivery(connection, webhookId, old?.eventId ?? 0n);
      deletion = deleteOldWebhookEvents(database.pool);
      await untilWaitingForLock(database.pool);
    });
    expect(await deletion).toBe(0);
    expect(await listDeliveries(database.pool, webhookId, { limit: 1 })).toMatchObject([
      { eventId: old?.eventId, status: 'pending' },
    ]);
  });

  it('are not replayed once they are deleted', async () => {
    const webhookId = await add();
    await emitNumber(database.pool, null, 1);
    await finish(webhookId);
    const [old] = await listDeliveries(database.pool, webhookId, { limit: 1 });
    let replay: Promise<void> | undefined;
    await inTransaction(database.pool, async (connection) => {
      await connection.query('delete from webhook_event');
      replay = replayDelivery(database.pool, webhookId, old?.eventId ?? 0n);
      replay.catch(() => {});
      await untilWaitingForLock(database.pool);
    });
    await expect(replay).rejects.toMatchObject({ code: 'unknown_delivery' });
  });

  it('without a delivery are deleted after 30 days, all of them', async () => {
    await database.pool.query(
      "insert into webhook_event (type, data, occurred_at) select 'x', '{}', now() - interval '31 days' from generate_series(1, 4001)",
    );
    await emitNumber(database.pool, null, 1);
    expect(await deleteOldWebhookEvents(database.pool)).toBe(4_001);
    expect(await countOf('webhook_event')).toBe(1);
  });
});

describe('a console', () => {
  it('deletes sessions and login links that have expired, and no other', async () => {
    const { id } = await createKey(database.pool, { name: 'k', role: 'admin' });
    for (const [text, left] of [
      ['old', '-1 second'],
      ['new', '1 minute'],
    ])
      for (const table of ['console_session', 'login_link'])
        await database.pool.query(
          `insert into ${table} (token_hash, api_key_id, expires_at) values (sha256($1::bytea), $2, now() + $3::interval)`,
          [text, id, left],
        );
    const tasks = startTasks(database.url, parseConfig({}), silent);
    onTestFinished(() => tasks.stop());
    await until(
      'the deletion',
      async () => (await countOf('console_session')) + (await countOf('login_link')) === 2,
    );
    const { rows } = await database.pool.query(
      "select from console_session, login_link link where console_session.token_hash = sha256('new') and link.token_hash = sha256('new')",
    );
    expect(rows).toHaveLength(1);
  });

  it('deletes old events and answers', async () => {
    const { id } = await createKey(database.pool, {
      name: 'k',
      role: 'admin',
      advertiserIds: null,
      expiresAt: null,
    });
    for (const [key, interval] of [
      ['old', '25 hours'],
      ['new', '23 hours'],
    ])
      await database.pool.query(
        `insert into api_answer (api_key_id, idempotency_key, request_hash, status, headers, body, created_at)
         values ($1, $2, sha256('x'), 200, '{}', '', now() - $3::interval)`,
        [id, key, interval],
      );
    await emitNumber(database.pool, null, 1);
    await pass('31 days');
    const tasks = startTasks(database.url, parseConfig({}), silent);
    onTestFinished(() => tasks.stop());
    await until('the deletion', async () => (await countOf('webhook_event')) === 0);
    const { rows } = await database.pool.query('select idempotency_key as key from api_answer');
    expect(rows).toEqual([{ key: 'new' }]);
  });
});
