import { beforeAll, describe, expect, it } from 'vitest';
import { addAdvertiser } from '../../../ledger/accounts/advertisers.ts';
import { dueDeliveries, leaseWebhooks } from '../../../ledger/webhooks/leases.ts';
import { addWebhook, readWebhook } from '../../../ledger/webhooks/webhooks.ts';
import { testDatabase } from '../../support/database.ts';
import { until } from '../../support/until.ts';
import { age, emitNumber, testConsole, testReceiver } from '../../support/webhooks-fixture.ts';

const database = testDatabase();
const EVENTS = 100_000;
const ADVERTISERS = 1_000;
let advertiserIds: number[] = [];

beforeAll(async () => {
  const { rows } = await database.pool.query<{ id: number }>(
    `insert into advertiser (name, currency) select 'one', 'USD' from generate_series(1, $1) returning id`,
    [ADVERTISERS],
  );
  advertiserIds = rows.map(({ id }) => id);
});

/** Queues many events for one webhook, spread over the advertisers. */
async function queue(webhookId: number): Promise<void> {
  await database.pool.query(
    `with event as (
       insert into webhook_event (type, advertiser_id, data)
       select 'dead_letters.waiting', $2 + number % $3, jsonb_build_object('count', number) from generate_series(1, $4) number
       returning id, advertiser_id
     ) insert into webhook_delivery (webhook_id, event_id, advertiser_id) select $1, id, advertiser_id from event`,
    [webhookId, advertiserIds[0], ADVERTISERS, EVENTS],
  );
  await database.pool.query('vacuum analyze webhook_delivery');
}

describe(`${EVENTS} queued events to a dead target`, () => {
  it('delay no other webhook, and are tried a few times only', async () => {
    const dead = await testReceiver((response) => void response.destroy());
    const { webhook } = await addWebhook(database.pool, { url: dead.url }, 'private');
    await queue(webhook.id);
    const healthy = await testReceiver();
    await addWebhook(database.pool, { url: healthy.url, eventTypes: ['budget.low'] }, 'private');
    const other = await addAdvertiser(database.pool, 'other', 'USD');
    const { webhook: ofOther } = await addWebhook(
      database.pool,
      {
        url: healthy.url,
        advertiserId: other.id,
      },
      'private',
    );
    const { lines } = testConsole(database);
    const delays: number[] = [];
    for (let number = 0; number < 10; number += 1) {
      const emittedAt = performance.now();
      await emitNumber(database.pool, other.id, number);
      const got = await until('the event', () => healthy.received[number]);
      delays.push(got.at - emittedAt);
    }
    expect(Math.max(...delays)).toBeLessThan(1_000);
    await until(
      'the wait of the dead webhook',
      async () => (await readWebhook(database.pool, webhook.id)).retryAt,
    );
    expect(dead.received.length).toBeLessThan(10);
    expect(lines.filter((line) => line.startsWith('warn The target of a webhook fails'))).toHaveLength(1);
    expect((await readWebhook(database.pool, ofOther.id)).failingSince).toBeNull();

    const before = dead.received.length;
    await age(database.pool, '31 seconds');
    await until('one probe', () => dead.received.length > before);
    await until('its result', async () => (await readWebhook(database.pool, webhook.id)).retryAt);
    expect(dead.received.length).toBe(before + 1);

    dead.answer = (response) => void response.writeHead(200).end();
    await age(database.pool, '121 seconds');
    await until('many deliveries', () => dead.received.length > before + 100);
  }, 60_000);

  it('are found by the index, one row for each advertiser', async () => {
    const { webhook } = await addWebhook(database.pool, { url: 'http://127.0.0.1:1/' }, 'private');
    await queue(webhook.id);
    const explain = async (sql: string) => {
      const { rows } = await database.pool.query<{ 'QUERY PLAN': string }>(
        `explain (analyze, buffers, costs off) ${sql}`,
      );
      return rows.map((row) => row['QUERY PLAN']).join('\n');
    };
    const first = await explain(`${dueDeliveries(String(webhook.id), '-1')} limit 4`);
    expect(first).toContain('webhook_delivery_pending');
    expect(first).not.toContain('Seq Scan');
    const [, hits = '0'] = /Buffers: shared hit=(\d+)/.exec(first) ?? [];
    expect(Number(hits)).toBeLessThan(60);
    const startedAt = performance.now();
    const leases = await leaseWebhooks(database.pool, { isFailing: false, limit: 10 });
    expect(leases.some(({ webhookId }) => webhookId === webhook.id)).toBe(true);
    expect(performance.now() - startedAt).toBeLessThan(200);
    await database.pool.query(
      "update webhook_progress set leased_until = '-infinity', failures = 3, retry_at = now() + interval '1 hour'",
    );
    const waiting = await explain(
      `select from webhook_progress progress join webhook on webhook.id = progress.webhook_id
       where progress.retry_at <= now() and exists (${dueDeliveries('progress.webhook_id', '-1')})`,
    );
    expect(waiting).toMatch(/webhook_delivery_pending[^\n]*\(never executed\)/);
  }, 60_000);
});
