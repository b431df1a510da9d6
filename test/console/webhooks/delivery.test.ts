import { createHmac } from 'node:crypto';
import type { ServerResponse } from 'node:http';
import { Webhook } from 'standardwebhooks';
import { beforeEach, describe, expect, it } from 'vitest';
import { sleep } from '../../../common/process.ts';
import { addAdvertiser } from '../../../ledger/accounts/advertisers.ts';
import {
  listAttempts,
  listDeliveries,
  replayDelivery,
  replayFailed,
} from '../../../ledger/webhooks/deliveries.ts';
import {
  addWebhook,
  readWebhook,
  rotateSecret,
  sendTestEvent,
  updateWebhook,
} from '../../../ledger/webhooks/webhooks.ts';
import { testDatabase } from '../../support/database.ts';
import { until } from '../../support/until.ts';
import type { Received } from '../../support/webhook-receiver.ts';
import { age, emitNumber, numbersOf, testConsole, testReceiver } from '../../support/webhooks-fixture.ts';

const GIVEN_UP =
  'warn Events of a webhook were given up after three days of retries. Clicks are not affected. Replay them when the target works again';

const database = testDatabase();

beforeEach(async () => {
  await database.pool.query('delete from webhook_event');
  await database.pool.query("update webhook set status = 'archived'");
});

async function addAdvertisers(count: number): Promise<number[]> {
  const added = Array.from({ length: count }, () => addAdvertiser(database.pool, 'one', 'USD'));
  return (await Promise.all(added)).map(({ id }) => id);
}

/** Verifies as the specification says, without the library. */
function signaturesOf({ id, headers, body }: Received, secret: string): string {
  const key = Buffer.from(secret.slice('whsec_'.length), 'base64');
  const signed = `${id}.${headers['webhook-timestamp']}.${body}`;
  return `v1,${createHmac('sha256', key).update(signed).digest('base64')}`;
}

function verify({ body, headers }: Received, secret: string): unknown {
  return new Webhook(secret).verify(body, headers as Record<string, string>);
}

const deliveriesOf = (id: number) => listDeliveries(database.pool, id, { limit: 100 });

describe('an event', () => {
  it('reaches its receiver within a second, signed', async () => {
    const receiver = await testReceiver();
    const { webhook, secret } = await addWebhook(database.pool, { url: receiver.url }, 'private');
    testConsole(database);
    await emitNumber(database.pool, null, 0);
    await until('the first event', () => receiver.received.length === 1);
    const emittedAt = performance.now();
    await emitNumber(database.pool, null, 1);
    const got = await until('the second event', () => receiver.received[1]);
    expect(got.at - emittedAt).toBeLessThan(1_000);
    expect(verify(got, secret)).toEqual({
      type: 'dead_letters.waiting',
      timestamp: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/),
      data: { count: 1 },
    });
    expect(got.headers['webhook-signature']).toBe(signaturesOf(got, secret));
    expect(Math.abs(Number(got.headers['webhook-timestamp']) - Date.now() / 1_000)).toBeLessThan(5);
    expect(got.headers['content-type']).toBe('application/json');
    expect(got.headers['user-agent']).toMatch(/^Tollway\/\d/);
    const [delivery] = await until('the result', async () => {
      const found = await deliveriesOf(webhook.id);
      return found.every(({ status }) => status === 'delivered') ? found : null;
    });
    expect(delivery).toMatchObject({ attempts: 1, eventType: 'dead_letters.waiting', nextAttemptAt: null });
    expect(got.id).toBe(`evt_${delivery?.eventId}`);
    const attempts = await listAttempts(database.pool, webhook.id, delivery?.eventId ?? 0n);
    expect(attempts).toEqual([
      { at: expect.any(Date), durationMs: expect.any(Number), statusCode: 204, error: null },
    ]);
  });

  it('comes in order for each advertiser, and advertisers do not wait for each other', async () => {
    const [one = 0, other = 0] = await addAdvertisers(2);
    const held: (() => void)[] = [];
    const receiver = await testReceiver((response, { data }) => {
      const answer = () => void response.writeHead(200).end();
      if (data.count === 1) held.push(answer);
      else answer();
    });
    await addWebhook(database.pool, { url: receiver.url }, 'private');
    testConsole(database);
    for (const number of [1, 2, 3]) await emitNumber(database.pool, one, number);
    for (const number of [11, 12, 13]) await emitNumber(database.pool, other, number);
    await until('the events of the other advertiser', () => numbersOf(receiver).includes(13));
    expect(numbersOf(receiver).filter((number) => Number(number) < 10)).toEqual([1]);
    held[0]?.();
    await until('all events', () => receiver.received.length === 6);
    expect(numbersOf(receiver).filter((number) => Number(number) < 10)).toEqual([1, 2, 3]);
    expect(numbersOf(receiver).filter((number) => Number(number) > 10)).toEqual([11, 12, 13]);
  });

  it('is sent for at most four advertisers at the same time', async () => {
    const advertisers = await addAdvertisers(9);
    const held: ServerResponse[] = [];
    let answer = (response: ServerResponse) => void held.push(response);
    const receiver = await testReceiver((response) => answer(response));
    await addWebhook(database.pool, { url: receiver.url }, 'private');
    for (const [number, id] of advertisers.entries()) await emitNumber(database.pool, id, number);
    testConsole(database);
    await until('four attempts', () => held.length === 4);
    // A fifth one would have begun meanwhile.
    await sleep(200);
    expect(held).toHaveLength(4);
    answer = (response) => void response.writeHead(200).end();
    for (const response of held) answer(response);
    await until('all events', () => receiver.received.length === 9);
    expect(receiver.load.most).toBe(4);
  });

  it('waits while its webhook is paused, and is sent after it is resumed', async () => {
    const receiver = await testReceiver();
    const { webhook } = await addWebhook(database.pool, { url: receiver.url }, 'private');
    await emitNumber(database.pool, null, 1);
    await updateWebhook(database.pool, webhook.id, { status: 'paused' }, 'private');
    await emitNumber(database.pool, null, 2);
    const other = await addWebhook(database.pool, { url: receiver.url }, 'private');
    testConsole(database);
    await sendTestEvent(database.pool, other.webhook.id);
    await until('the event of the other webhook', () => receiver.received.length === 1);
    await updateWebhook(database.pool, webhook.id, { status: 'active' }, 'private');
    await until('the event from before the pause', () => receiver.received.length === 2);
    expect(numbersOf(receiver)).toEqual([undefined, 1]);
  });
});

describe('a failed attempt', () => {
  it('is made again with the same id and body, and later events wait', async () => {
    const [advertiser = 0] = await addAdvertisers(1);
    const receiver = await testReceiver((response) => void response.writeHead(503).end('busy'));
    const { webhook } = await addWebhook(database.pool, { url: receiver.url }, 'private');
    const { metrics } = testConsole(database);
    await emitNumber(database.pool, advertiser, 1);
    await emitNumber(database.pool, advertiser, 2);
    const [, first] = await until('a recorded attempt', async () => {
      const found = await deliveriesOf(webhook.id);
      return found[1]?.attempts === 1 ? found : null;
    });
    const wait = Number(first?.nextAttemptAt) - Date.now();
    expect(wait).toBeGreaterThan(2_000);
    expect(wait).toBeLessThan(6_000);
    receiver.answer = (response) => void response.writeHead(200).end();
    await age(database.pool, '6 seconds');
    await until('both events', () => receiver.received.length === 3);
    expect(numbersOf(receiver)).toEqual([1, 1, 2]);
    const [one, again] = receiver.received;
    expect([again?.id, again?.body]).toEqual([one?.id, one?.body]);
    const attempts = await listAttempts(database.pool, webhook.id, first?.eventId ?? 0n);
    expect(attempts.map(({ statusCode, error }) => [statusCode, error])).toEqual([
      [503, 'Expected a status of 200–299, got 503'],
      [200, null],
    ]);
    await until('the count of the last attempt', async () => {
      const { values } = await metrics.webhookDeliveries.get();
      const counts = Object.fromEntries(values.map(({ labels, value }) => [labels.result, value]));
      return counts.delivered === 2 && counts.retry === 1 && counts.failed === 0;
    });
  });

  it('delays the whole webhook for as long as Retry-After says', async () => {
    const [one = 0, other = 0] = await addAdvertisers(2);
    const receiver = await testReceiver(
      (response) => void response.writeHead(429, { 'retry-after': '120' }).end(),
    );
    const { webhook } = await addWebhook(database.pool, { url: receiver.url }, 'private');
    testConsole(database);
    await emitNumber(database.pool, one, 1);
    await until('the wait', async () => (await readWebhook(database.pool, webhook.id)).retryAt);
    await emitNumber(database.pool, other, 2);
    const { retryAt, failingSince } = await readWebhook(database.pool, webhook.id);
    expect(failingSince).not.toBeNull();
    expect(Number(retryAt) - Date.now()).toBeGreaterThan(110_000);
    receiver.answer = (response) => void response.writeHead(200).end();
    await age(database.pool, '121 seconds');
    await until('both events', () => receiver.received.length === 3);
    expect((await readWebhook(database.pool, webhook.id)).failingSince).toBeNull();
  });

  it('is the last one after three days; the events behind it are given up with it', async () => {
    const [advertiser = 0] = await addAdvertisers(1);
    const receiver = await testReceiver((response) => void response.writeHead(500).end());
    const { webhook } = await addWebhook(database.pool, { url: receiver.url }, 'private');
    const { lines } = testConsole(database);
    for (const number of [1, 2, 3]) await emitNumber(database.pool, advertiser, number);
    await until('an attempt', () => receiver.received.length === 1);
    await until('its result', async () => (await deliveriesOf(webhook.id))[2]?.attempts === 1);
    await age(database.pool, '71 hours 59 minutes');
    await until('one more attempt', async () => (await deliveriesOf(webhook.id))[2]?.attempts === 2);
    expect((await deliveriesOf(webhook.id)).map(({ status }) => status)).toEqual([
      'pending',
      'pending',
      'pending',
    ]);
    await emitNumber(database.pool, advertiser, 4);
    await age(database.pool, '2 minutes');
    const found = await until('the end', async () => {
      const deliveries = await deliveriesOf(webhook.id);
      return deliveries.filter(({ status }) => status === 'failed').length === 3 ? deliveries : null;
    });
    expect(found.map(({ status, attempts }) => [status, attempts])).toEqual([
      ['pending', 0],
      ['failed', 0],
      ['failed', 0],
      ['failed', 3],
    ]);
    await until('the line about it', () => lines.includes(GIVEN_UP));
    receiver.answer = (response) => void response.writeHead(200).end();
    receiver.received.length = 0;
    expect(await replayFailed(database.pool, webhook.id, new Date(Date.now() - 60_000))).toBe(3);
    await until('all events', () => receiver.received.length === 4);
    expect(numbersOf(receiver)).toEqual([1, 2, 3, 4]);
  });

  it('pauses the webhook if the answer is 410', async () => {
    const receiver = await testReceiver((response) => void response.writeHead(410).end());
    const { webhook } = await addWebhook(database.pool, { url: receiver.url }, 'private');
    const { lines } = testConsole(database);
    await emitNumber(database.pool, null, 1);
    await until('the pause', async () => (await readWebhook(database.pool, webhook.id)).status === 'paused');
    await until('a line', () => lines.some((line) => line.startsWith('warn A target answered 410 Gone')));
    expect((await deliveriesOf(webhook.id))[0]).toMatchObject({ status: 'pending', attempts: 1 });
    const { rows } = await database.pool.query(
      "select actor_type, actor from audit_entry where action = 'webhook.update' order by id desc limit 1",
    );
    expect(rows).toEqual([{ actor_type: 'system', actor: 'webhooks' }]);
    receiver.answer = (response) => void response.writeHead(200).end();
    await updateWebhook(database.pool, webhook.id, { status: 'active' }, 'private');
    await age(database.pool, '6 seconds');
    await until('the event', () => receiver.received.length === 2);
  });
});

describe('a rotation', () => {
  it('lets both secrets sign for 24 hours', async () => {
    const receiver = await testReceiver();
    const { webhook, secret: old } = await addWebhook(database.pool, { url: receiver.url }, 'private');
    const { secret, webhook: rotated } = await rotateSecret(database.pool, webhook.id);
    expect(Number(rotated.previousSecretUntil) - Date.now()).toBeGreaterThan(86_390_000);
    testConsole(database);
    await emitNumber(database.pool, null, 1);
    const during = await until('an event', () => receiver.received[0]);
    expect(during.headers['webhook-signature']).toBe(
      `${signaturesOf(during, secret)} ${signaturesOf(during, old)}`,
    );
    for (const one of [secret, old]) expect(verify(during, one)).toMatchObject({ data: { count: 1 } });
    await age(database.pool, '24 hours');
    await emitNumber(database.pool, null, 2);
    const after = await until('an event', () => receiver.received[1]);
    expect(after.headers['webhook-signature']).toBe(signaturesOf(after, secret));
    expect(() => verify(after, old)).toThrow('No matching signature');
  });
});

describe('a replay', () => {
  it('sends a delivered event again with the same id', async () => {
    const receiver = await testReceiver();
    const { webhook } = await addWebhook(database.pool, { url: receiver.url }, 'private');
    testConsole(database);
    await emitNumber(database.pool, null, 1);
    const [delivery] = await until('the delivery', async () => {
      const found = await deliveriesOf(webhook.id);
      return found[0]?.status === 'delivered' ? found : null;
    });
    await replayDelivery(database.pool, webhook.id, delivery?.eventId ?? 0n);
    await until('the event again', () => receiver.received.length === 2);
    expect(receiver.received[1]?.id).toBe(receiver.received[0]?.id);
  });

  it('of an unknown delivery or a paused webhook is refused', async () => {
    const { webhook } = await addWebhook(database.pool, { url: 'https://example.com/' }, 'private');
    await expect(replayDelivery(database.pool, webhook.id, 99n)).rejects.toMatchObject({
      code: 'unknown_delivery',
    });
    await expect(replayFailed(database.pool, 999_999, new Date())).rejects.toMatchObject({
      code: 'unknown_webhook',
    });
    await updateWebhook(database.pool, webhook.id, { status: 'paused' }, 'private');
    await expect(replayFailed(database.pool, webhook.id, new Date())).rejects.toMatchObject({
      code: 'webhook_not_active',
    });
    await expect(sendTestEvent(database.pool, webhook.id)).rejects.toMatchObject({
      code: 'webhook_not_active',
    });
  });
});
