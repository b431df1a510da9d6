import { afterAll, describe, expect, it } from 'vitest';
import { createPostgresPublisher } from '../../brokers/postgres/publisher.ts';
import { parseConfig } from '../../common/config/config.ts';
import { errorCode } from '../../common/errors.ts';
import type { Resource } from '../../common/process.ts';
import { createMetrics } from '../../common/telemetry/metrics.ts';
import { freePorts } from '../../emulators/process/free-ports.ts';
import { consume } from '../../processor/consume.ts';
import { createRuntime } from '../../processor/runtime.ts';
import { addAccount, createTestDatabase } from '../support/database.ts';
import { capturedLog } from '../support/loggers.ts';
import { TestSpool } from '../support/records.ts';
import { startTcpProxy } from '../support/tcp-proxy.ts';
import { until } from '../support/until.ts';

/** SQLSTATE of a transaction that was ended to resolve a deadlock. */
const DEADLOCK = '40P01';

const ends: (() => Promise<unknown>)[] = [];
afterAll(async () => {
  await Promise.all(ends.map((end) => end()));
});

/** A processor in this process, whose database is behind a proxy that can be frozen. */
async function startProcessor() {
  const database = await createTestDatabase({ poolSize: 4 });
  const { advertiser, ad } = await addAccount(database.pool);
  const proxy = await startTcpProxy(database.url);
  const [port = 0] = await freePorts(1);
  const config = parseConfig({ DATABASE_URL: proxy.url, PROCESSOR_OPS_PORT: String(port) });
  const { logger, lines } = capturedLog();
  const runtime = createRuntime('processor', config, {
    metrics: createMetrics('processor'),
    logger,
    onInvariant: () => undefined,
  });
  const resources: Resource[] = [];
  await consume(runtime, { onShutdown: (resource) => resources.push(resource), fail: () => undefined });
  const spool = new TestSpool();
  const publisher = createPostgresPublisher(database.pool);
  const get = async (path: string) => {
    const startedAt = performance.now();
    const response = await fetch(`http://127.0.0.1:${port}${path}`);
    const text = await response.text();
    return { status: response.status, text, ms: performance.now() - startedAt };
  };
  ends.push(async () => {
    proxy.thaw();
    for (const { close } of resources.reverse()) await close(0);
    await proxy.close();
    await database.drop();
  });
  return {
    database,
    advertiser,
    proxy,
    get,
    /** What the processor has logged. */
    lines,
    /** The value of a metric without labels, or of its first series; `undefined` if it is absent. */
    gauge: async (name: string) => {
      const [, value] =
        (await get('/metrics')).text.match(new RegExp(`^${name}(?:\\{.*\\})? (\\S+)$`, 'm')) ?? [];
      return value === undefined ? undefined : Number(value);
    },
    publish: (clickedAt = Date.now()) => publisher.publish([spool.click({ ad, clickedAt })]),
    isReady: async () => (await get('/readyz')).status === 200,
  };
}

describe.concurrent('metrics and readiness of a processor', () => {
  it('are served within a second and stay correct while the database is frozen', async () => {
    const { database, advertiser, proxy, get, gauge, lines, publish, isReady } = await startProcessor();
    await until('readiness', isReady, 10_000);
    const info = `tollway_advertiser_info{advertiser="${advertiser.id}",name="Test advertiser",status="active",currency="USD"} 1`;
    await until(info, async () => (await get('/metrics')).text.includes(info), 10_000);
    const overDelivery = `tollway_over_delivery_total{advertiser="${advertiser.id}",currency="USD"} 0`;
    expect((await get('/metrics')).text).toContain(overDelivery);
    // A click that waits: its row is locked, so that no processor charges it.
    const lock = await database.pool.connect();
    await lock.query('begin');
    await lock.query('select from advertiser where id = $1 for update', [advertiser.id]);
    await publish(Date.now() - 60_000);
    await until(
      'the age',
      async () => ((await gauge('tollway_broker_oldest_click_age_seconds')) ?? 0) >= 60,
      5_000,
    );
    proxy.freeze();
    const isSaid = async () => /^- database: it does not answer/m.test((await get('/readyz')).text);
    await until('readiness to name the database', isSaid, 10_000);
    const [ready, healthy, metrics] = await Promise.all([get('/readyz'), get('/healthz'), get('/metrics')]);
    for (const { ms } of [ready, healthy, metrics]) expect(ms).toBeLessThan(1_000);
    expect(healthy.status).toBe(200);
    expect(ready.status).toBe(503);
    expect(await gauge('tollway_database_up')).toBe(0);
    expect(await gauge('tollway_settlement_blocked')).toBe(1);
    expect(lines.filter((line) => line.startsWith('warn The database does not answer'))).toHaveLength(1);
    const before = (await gauge('tollway_broker_oldest_click_age_seconds')) ?? 0;
    await until(
      'the age to grow',
      async () => ((await gauge('tollway_broker_oldest_click_age_seconds')) ?? 0) > before,
      5_000,
    );
    await lock.query('rollback');
    lock.release();
    proxy.thaw();
    await until(
      'readiness and no old click',
      async () => (await isReady()) && (await gauge('tollway_broker_oldest_click_age_seconds')) === 0,
    );
    expect(await gauge('tollway_database_up')).toBe(1);
    expect(await gauge('tollway_broker_up')).toBe(1);
    expect(await gauge('tollway_settlement_blocked')).toBe(0);
    expect(lines.filter((line) => line.startsWith('warn The database answers'))).toHaveLength(1);
  }, 40_000);

  it.each([
    ['a locked ledger', 'begin; lock table ledger', 'rollback', /settlement in lane .* has not answered/],
    [
      'an error in every batch',
      `create function refuse() returns trigger language plpgsql as $$ begin raise exception 'refused'; end $$;
       create trigger refuse before insert on ledger for each row execute function refuse()`,
      'drop trigger refuse on ledger',
      /settlement in lane .*refused/,
    ],
  ])(
    'report that %s keeps clicks from being settled',
    async (_, fault, repair, reason) => {
      const { database, get, gauge, publish, isReady } = await startProcessor();
      await until('readiness', isReady, 10_000);
      expect(await gauge('tollway_settlement_blocked')).toBe(0);
      const connection = await database.pool.connect();
      // The server ends every connection when the database is dropped after a failed test.
      connection.on('error', () => {});
      await connection.query(fault);
      await publish();
      await until('the reason', async () => reason.test((await get('/readyz')).text), 10_000);
      expect(await gauge('tollway_settlement_blocked')).toBe(1);
      expect(await gauge('tollway_database_up')).toBe(1);
      // Dropping a trigger locks the ledger and its partitions in another order than a charge: PostgreSQL can end either.
      const isRepaired = () =>
        connection.query(repair).then(
          () => true,
          (error: unknown) => {
            if (errorCode(error) !== DEADLOCK) throw error;
            return false;
          },
        );
      await until('the repair', isRepaired, 10_000).finally(() => connection.release());
      await until('readiness again', isReady, 10_000);
      expect(await gauge('tollway_settlement_blocked')).toBe(0);
    },
    40_000,
  );

  it('report that a read-only database keeps clicks from being settled, even while none arrive', async () => {
    const { database, get, gauge, isReady } = await startProcessor();
    await until('readiness', isReady, 10_000);
    const name = new URL(database.url).pathname.slice(1);
    await database.pool.query(`alter database ${name} set default_transaction_read_only = on`);
    await database.pool.query(
      'select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()',
    );
    await until(
      'the reason',
      async () => /database: it is read-only/.test((await get('/readyz')).text),
      10_000,
    );
    expect(await gauge('tollway_settlement_blocked')).toBe(1);
  }, 40_000);
});
