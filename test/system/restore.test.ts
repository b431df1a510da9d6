import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { appendFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parseAmount } from '../../common/money.ts';
import { createPool } from '../../common/postgres/postgres.ts';
import { freePorts } from '../../emulators/process/free-ports.ts';
import { addBudgetEntry } from '../../ledger/accounts/budget-entries.ts';
import { migrate } from '../../migrations/migrate.ts';
import type { Broker, Driver, Server } from '../brokers/broker.ts';
import { kinesisDriver } from '../brokers/kinesis-broker.ts';
import { postgresDriver } from '../brokers/postgres-broker.ts';
import { type Account, addAccount, type TestDatabase } from '../support/database.ts';
import { silent } from '../support/loggers.ts';
import { codeBlocksOf, readPage } from '../support/markdown.ts';
import { createCluster, installedPostgres, type PostgresCluster } from '../support/postgres-cluster.ts';
import { type NamedAd, TestSpool } from '../support/records.ts';
import { RETENTION } from '../support/retention.ts';
import { runScript, tollway } from '../support/run-script.ts';
import { isSkipped } from '../support/skipped.ts';
import { until } from '../support/until.ts';

const bin = installedPostgres();
const skipped = isSkipped(
  bin === undefined ? 'Restoring a backup is not tested: install postgresql-15 or newer' : null,
);
const page = readPage('docs/running.md');
const [archiving = '', recovering = ''] = codeBlocksOf(page, 'ini');
const [skipIds = ''] = codeBlocksOf(page, 'sql');

/** A ledger in the cluster, with a broker and a processor. */
type Ledger = {
  readonly database: TestDatabase;
  readonly broker: Broker;
  readonly spool: TestSpool;
  readonly advertiser: Account['advertiser'];
  readonly ad: NamedAd;
  readonly env: NodeJS.ProcessEnv;
  processor: ChildProcess;
};

let cluster: PostgresCluster;
const servers: Server[] = [];
const ledgers: Ledger[] = [];

beforeAll(async () => {
  if (bin === undefined) return;
  cluster = await createCluster(bin);
  cluster.configure(placed(archiving));
  await cluster.start();
});

afterAll(async () => {
  for (const { processor, broker, database } of ledgers) {
    processor.kill('SIGKILL');
    await broker.close();
    await database.pool.end();
  }
  for (const server of servers) await server.stop();
  await cluster?.remove();
});

const placed = (text: string) => text.replaceAll('/srv/tollway-backup', cluster.folder);

async function openLedger(driver: Driver): Promise<Ledger> {
  const maintenance = createPool(cluster.url('postgres'), 'test', 1, () => {});
  await maintenance.query(`create database ledger_${driver.name}`);
  await maintenance.end();
  const url = cluster.url(`ledger_${driver.name}`);
  await migrate(url, RETENTION, silent);
  const database = { url, pool: createPool(url, 'test', 4, () => {}), connectionErrors: [] };
  // For 80 clicks.
  const { advertiser, ad } = await addAccount(database.pool, { budget: '20.00', price: '0.25' });
  const server = await driver.start();
  servers.push(server);
  const broker = await server.open(database);
  const [port = 0] = await freePorts(1);
  const { KAFKA_BROKERS: _, ...inherited } = process.env;
  const env = { ...inherited, ...broker.env, PROCESSOR_OPS_PORT: String(port) };
  const processor = runScript('processor/main.ts', env);
  const ledger = { database, broker, spool: new TestSpool(), advertiser, ad, env, processor };
  ledgers.push(ledger);
  return ledger;
}

const countOf = async ({ database: { pool } }: Ledger) =>
  (await pool.query<{ count: number }>('select count(*)::int as count from ledger')).rows[0]?.count ?? 0;

/** Publishes clicks with the watermark of their spool, and waits until they are charged. */
async function click(ledger: Ledger, count: number): Promise<void> {
  const { spool, ad, broker } = ledger;
  await broker.publisher.publish(Array.from({ length: count }, () => spool.click({ ad })));
  await broker.publisher.publishEverywhere(spool.watermark());
  await untilSettled(ledger, spool.accepted);
}

async function untilSettled(ledger: Ledger, count: number): Promise<void> {
  const isSettled = () =>
    countOf(ledger).then(
      (settled) => settled >= count,
      () => false,
    );
  await until(`${count} settled clicks`, isSettled);
}

/** Ends the server and loses its disk; all that it has written until now is in the archive. */
async function loseServer(pool: TestDatabase['pool']): Promise<void> {
  const { rows } = await pool.query<{ segment: string }>(
    'select pg_walfile_name(pg_switch_wal()) as segment',
  );
  const archived = async () => {
    const query = 'select last_archived_wal as name from pg_stat_archiver';
    return (
      ((await pool.query<{ name: string | null }>(query)).rows[0]?.name ?? '') >= (rows[0]?.segment ?? '')
    );
  };
  await until('the last segment in the archive', archived);
  await cluster.kill();
  rmSync(join(cluster.folder, 'data'), { recursive: true });
}

/** Restores the base backup to a time, as docs/running.md says. */
async function restore(time: string): Promise<void> {
  const data = join(cluster.folder, 'data');
  renameSync(join(cluster.folder, 'base'), data);
  appendFileSync(
    join(data, 'postgresql.conf'),
    placed(recovering).replace(/recovery_target_time = .*/, `recovery_target_time = '${time}'`),
  );
  writeFileSync(join(data, 'recovery.signal'), '');
  await cluster.start();
}

async function untilRecovered(pool: TestDatabase['pool']): Promise<void> {
  const isRecovered = async () => {
    const query = 'select pg_is_in_recovery() as recovering';
    const answer = await pool.query<{ recovering: boolean }>(query).catch(() => null);
    return answer?.rows[0]?.recovering === false;
  };
  await until('the end of the recovery', isRecovered);
}

/** Skips the ids that were in use after that time: links in circulation can name such an ad, and receivers can have had such an event. */
async function expectIdsSkipped({ database: { pool }, ad }: Ledger): Promise<void> {
  await pool.query(skipIds);
  expect((await addAccount(pool)).ad.id).toBeGreaterThan(ad.id + 1_000);
  const { rows } = await pool.query<{ id: number }>(
    "insert into webhook_event (type, data) values ('webhook.test', '{}') returning id::float8",
  );
  expect(rows[0]?.id).toBeGreaterThan(1_000_000);
}

/** Enters a payment for 20 more clicks, once. */
const topUp = ({ database, advertiser }: Ledger) =>
  addBudgetEntry(database.pool, advertiser.id, 'top_up', parseAmount('5.00'), 'invoice 1');

describe.skipIf(skipped)('a backup that is restored to a time, as docs/running.md says', () => {
  it('gives back every click that the broker keeps, and names those that it does not', {
    timeout: 60_000,
  }, async () => {
    const kept = await openLedger(kinesisDriver);
    const lost = await openLedger(postgresDriver);
    const both = [kept, lost];
    for (const ledger of both) await click(ledger, 50);
    await cluster.run(
      'pg_basebackup',
      '--checkpoint=fast',
      '-D',
      join(cluster.folder, 'base'),
      '-d',
      cluster.url('postgres'),
    );
    for (const ledger of both) await click(ledger, 30);
    const { rows } = await kept.database.pool.query<{ now: string }>('select clock_timestamp()::text as now');
    // Made after that time.
    for (const ledger of both) {
      await topUp(ledger);
      await click(ledger, 20);
    }

    for (const { processor } of both) {
      processor.kill('SIGTERM');
      await once(processor, 'exit');
    }
    await loseServer(kept.database.pool);
    await restore(rows[0]?.now ?? '');
    await untilRecovered(kept.database.pool);
    expect([await countOf(kept), await countOf(lost)]).toEqual([80, 80]);

    await expectIdsSkipped(kept);
    for (const ledger of both) await topUp(ledger);

    for (const ledger of both) ledger.processor = runScript('processor/main.ts', ledger.env);
    await untilSettled(kept, 100);
    const balanced = await tollway(kept.env, 'reconcile', '--settled', '--deep');
    expect(balanced.stdout).toContain('The books balance.');
    expect(balanced.code).toBe(0);
    const charged = await kept.database.pool.query("select from ledger where outcome = 'charged'");
    expect(charged.rowCount).toBe(100);
    // What the next watermark of an ad server says.
    await lost.broker.publisher.publishEverywhere(lost.spool.watermark());
    const reconcile = () => tollway(lost.env, 'reconcile', '--settled');
    await until('the missing clicks', async () => (await reconcile()).stdout.includes('81–100'));
    expect((await reconcile()).code).toBe(1);

    // The spool accepts more clicks until its ad server is restarted, then its count is corrected.
    await lost.broker.publisher.publish(Array.from({ length: 10 }, () => lost.spool.click({ ad: lost.ad })));
    await lost.broker.publisher.publishEverywhere(lost.spool.watermark());
    await untilSettled(lost, 90);
    expect((await reconcile()).stdout).toContain('81–100');
    const reason = 'lost by the restore';
    await tollway(lost.env, 'spool', 'correct', lost.spool.id, '--accepted', '80', '--reason', reason);
    expect((await reconcile()).stdout).toContain('The books balance.');
    expect((await reconcile()).code).toBe(0);
  });
});
