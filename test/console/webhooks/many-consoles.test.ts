import { beforeEach, describe, expect, it } from 'vitest';
import { addAdvertiser } from '../../../ledger/accounts/advertisers.ts';
import { listAttempts, listDeliveries } from '../../../ledger/webhooks/deliveries.ts';
import { recordDelivered } from '../../../ledger/webhooks/dispatch.ts';
import { leaseWebhooks, renewLeases } from '../../../ledger/webhooks/leases.ts';
import { addWebhook, sendTestEvent, updateWebhook } from '../../../ledger/webhooks/webhooks.ts';
import { testDatabase } from '../../support/database.ts';
import { until } from '../../support/until.ts';
import { emitNumber, numbersOf, testConsole, testReceiver } from '../../support/webhooks-fixture.ts';

const database = testDatabase();

beforeEach(async () => {
  await database.pool.query('delete from webhook_event');
  await database.pool.query("update webhook set status = 'archived'");
});

const noneWait = async () => {
  const { rows } = await database.pool.query<{ count: bigint }>(
    "select count(*) from webhook_delivery where status = 'pending'",
  );
  return rows[0]?.count === 0n;
};

/** Ends all leases, as if their time had passed, and takes them for nobody. */
const stealLeases = () =>
  database.pool.query(
    "update webhook_progress set leased_by = gen_random_uuid(), leased_until = now() + interval '1 minute'",
  );

describe('two consoles', () => {
  it('send each event once, in order', async () => {
    const receivers = await Promise.all([testReceiver(), testReceiver(), testReceiver()]);
    for (const { url } of receivers) await addWebhook(database.pool, { url }, 'private');
    const advertisers = await Promise.all(
      [1, 2, 3, 4, 5].map(() => addAdvertiser(database.pool, 'one', 'USD')),
    );
    const consoles = [testConsole(database), testConsole(database)];
    for (let number = 1; number <= 20; number += 1)
      await Promise.all(advertisers.map(({ id }) => emitNumber(database.pool, id, id * 1_000 + number)));
    await until('all deliveries', noneWait);
    for (const receiver of receivers) {
      expect(receiver.received).toHaveLength(100);
      expect(new Set(receiver.received.map(({ id }) => id)).size).toBe(100);
      for (const { id } of advertisers) {
        const numbers = numbersOf(receiver).filter((number) => Math.floor(Number(number) / 1_000) === id);
        expect(numbers).toEqual(Array.from({ length: 20 }, (_, index) => id * 1_000 + index + 1));
      }
    }
    const counts = await Promise.all(consoles.map(({ metrics }) => metrics.webhookDeliveries.get()));
    const delivered = counts.flatMap(({ values }) =>
      values.filter(({ labels }) => labels.result === 'delivered'),
    );
    expect(delivered.reduce((sum, { value }) => sum + value, 0)).toBe(300);
  });

  it('take over from each other at a stop', async () => {
    const receiver = await testReceiver(
      (response) => void setTimeout(() => response.writeHead(200).end(), 20),
    );
    await addWebhook(database.pool, { url: receiver.url }, 'private');
    for (let number = 1; number <= 30; number += 1) await emitNumber(database.pool, null, number);
    const first = testConsole(database);
    await until('some events', () => receiver.received.length > 5);
    testConsole(database);
    await first.stop();
    await until('all deliveries', noneWait);
    expect(numbersOf(receiver)).toEqual(Array.from({ length: 30 }, (_, index) => index + 1));
  });
});

describe('a console', () => {
  it('stops in time although a receiver does not answer, and the event is sent again', async () => {
    const receiver = await testReceiver(() => {});
    const { webhook } = await addWebhook(database.pool, { url: receiver.url }, 'private');
    await emitNumber(database.pool, null, 1);
    const first = testConsole(database);
    await until('a request', () => receiver.received.length === 1);
    const startedAt = performance.now();
    await first.stop();
    expect(performance.now() - startedAt).toBeLessThan(8_000);
    expect(await listDeliveries(database.pool, webhook.id, { limit: 1 })).toMatchObject([
      { status: 'pending', attempts: 0 },
    ]);
    receiver.answer = (response) => void response.writeHead(200).end();
    testConsole(database);
    await until('the event again', noneWait, 3_000);
    expect(receiver.received.map(({ id }) => id)).toEqual(Array(2).fill(receiver.received[0]?.id));
  });

  it('writes no result after it has lost its lease, and ends its attempts', async () => {
    const held: (() => void)[] = [];
    const receiver = await testReceiver((response) => void held.push(() => response.writeHead(200).end()));
    const { webhook } = await addWebhook(database.pool, { url: receiver.url }, 'private');
    await emitNumber(database.pool, null, 1);
    testConsole(database);
    await until('a request', () => receiver.received.length === 1);
    await stealLeases();
    await until('the end of the attempt', () => receiver.load.now === 0, 10_000);
    const [delivery] = await listDeliveries(database.pool, webhook.id, { limit: 1 });
    expect(delivery).toMatchObject({ status: 'pending', attempts: 0 });
    expect(await listAttempts(database.pool, webhook.id, delivery?.eventId ?? 0n)).toEqual([]);
  });

  it('lets other webhooks have their turn, though more receivers are slow than it sends to at the same time', {
    timeout: 60_000,
  }, async () => {
    const slow = await testReceiver(
      (response) => void setTimeout(() => response.writeHead(200).end(), 2_000),
    );
    for (let count = 0; count < 128; count += 1)
      await addWebhook(database.pool, { url: slow.url }, 'private');
    for (let number = 1; number <= 15; number += 1) await emitNumber(database.pool, null, number);
    testConsole(database);
    await until('requests to all slow receivers', () => slow.received.length >= 128);
    const quick = await testReceiver();
    const { webhook } = await addWebhook(database.pool, { url: quick.url }, 'private');
    await sendTestEvent(database.pool, webhook.id);
    await until('the event of the other webhook', () => quick.received.length === 1, 15_000);
    expect(await noneWait()).toBe(false);
  });

  it('goes on with the advertisers that the lease before did not reach', async () => {
    const receiver = await testReceiver(
      (response) => void setTimeout(() => response.writeHead(200).end(), 300),
    );
    await addWebhook(database.pool, { url: receiver.url }, 'private');
    for (let count = 0; count < 16; count += 1) {
      const { id } = await addAdvertiser(database.pool, 'one', 'USD');
      for (let number = 1; number <= 4; number += 1) await emitNumber(database.pool, id, id);
    }
    // A turn that ends by itself, after 5 s, ends its lease in the same way.
    for (let served = 4; served <= 16; served += 4) {
      const { stop } = testConsole(database);
      await until('a request for each slot', () => receiver.received.length >= served);
      await stop();
    }
    expect(new Set(numbersOf(receiver).slice(0, 16)).size).toBe(16);
    expect(await noneWait()).toBe(false);
  });

  it('renews its lease while a receiver is slow', async () => {
    const receiver = await testReceiver(
      (response) => void setTimeout(() => response.writeHead(200).end(), 8_000),
    );
    const { webhook } = await addWebhook(database.pool, { url: receiver.url }, 'private');
    await emitNumber(database.pool, null, 1);
    testConsole(database);
    const untilOf = async () => {
      const { rows } = await database.pool.query<{ at: Date }>(
        'select leased_until as at from webhook_progress where webhook_id = $1 and leased_until > now()',
        [webhook.id],
      );
      return rows[0]?.at;
    };
    const first = await until('a lease', untilOf);
    await until('a renewal', async () => Number(await untilOf()) > Number(first), 7_000);
    await until('the delivery', noneWait);
    expect(receiver.received).toHaveLength(1);
  });
});

describe('a result', () => {
  it('of an attempt that fails after its webhook was archived revives no delivery, and none has expired', async () => {
    const held: (() => void)[] = [];
    const receiver = await testReceiver((response) => void held.push(() => response.writeHead(500).end()));
    const { webhook } = await addWebhook(database.pool, { url: receiver.url }, 'private');
    await emitNumber(database.pool, null, 1);
    const { metrics, lines, stop } = testConsole(database);
    await until('a request', () => held.length === 1);
    await updateWebhook(database.pool, webhook.id, { status: 'archived' }, 'private');
    held[0]?.();
    const attempts = async () => {
      const [delivery] = await listDeliveries(database.pool, webhook.id, { limit: 1 });
      return delivery?.attempts === 1 ? delivery : null;
    };
    expect(await until('the result', attempts)).toMatchObject({ status: 'failed' });
    await stop();
    expect((await metrics.webhookDeliveries.get()).values.filter(({ value }) => value > 0)).toEqual([]);
    expect(lines).toEqual([]);
  });

  it('is refused under the lease of another', async () => {
    const { webhook } = await addWebhook(database.pool, { url: 'http://127.0.0.1:1/' }, 'private');
    await emitNumber(database.pool, null, 1);
    const [lease] = await leaseWebhooks(database.pool, { isFailing: false, limit: 10 });
    if (!lease) throw new Error('Expected a lease');
    expect(lease.webhookId).toBe(webhook.id);
    expect(await leaseWebhooks(database.pool, { isFailing: false, limit: 10 })).toEqual([]);
    expect(await renewLeases(database.pool, [lease.leaseId])).toEqual([lease.leaseId]);
    await database.pool.query("update webhook_progress set leased_until = now() - interval '1 second'");
    const [taken] = await leaseWebhooks(database.pool, { isFailing: false, limit: 10 });
    expect(taken?.webhookId).toBe(webhook.id);
    expect(await renewLeases(database.pool, [lease.leaseId])).toEqual([]);
    const [delivery] = await listDeliveries(database.pool, webhook.id, { limit: 1 });
    const eventId = delivery?.eventId ?? 0n;
    const outcome = { durationMs: 1, statusCode: 200, error: null };
    expect(await recordDelivered(database.pool, lease, eventId, outcome, true)).toBe(false);
    expect(await listDeliveries(database.pool, webhook.id, { limit: 1 })).toMatchObject([
      { status: 'pending' },
    ]);
    if (taken) expect(await recordDelivered(database.pool, taken, eventId, outcome, true)).toBe(true);
    expect(await listDeliveries(database.pool, webhook.id, { limit: 1 })).toMatchObject([
      { status: 'delivered' },
    ]);
  });
});
