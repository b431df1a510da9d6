import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { pino } from 'pino';
import { expect, inject } from 'vitest';
import { createSources } from '../../brokers/create-event-sources.ts';
import { type BatchSink, type EventSource, STOPPING } from '../../brokers/event-source.ts';
import { parseConfig } from '../../common/config/config.ts';
import { TollwayError } from '../../common/errors.ts';
import { createClient, createPool, type Pool } from '../../common/postgres/postgres.ts';
import { sleep } from '../../common/process.ts';
import { createMetrics, type ProcessMetrics } from '../../common/telemetry/metrics.ts';
import { uuidV7 } from '../../common/uuid.ts';
import type { ReadClick } from '../../contract/click-event.ts';
import { freePorts } from '../../emulators/process/free-ports.ts';
import { type Reconciliation, reconcile } from '../../ledger/reconciliation/reconcile.ts';
import { BatchDispatcher } from '../../processor/dispatch/batch-dispatcher.ts';
import { addAccount, createTestDatabase, type TestDatabase } from '../support/database.ts';
import { type NamedAd, TestSpool } from '../support/records.ts';
import { runScript } from '../support/run-script.ts';
import { until } from '../support/until.ts';
import { type Broker, type Server, SLOTS } from './broker.ts';

export type Submit = BatchSink['submit'];
/** Settings of a process; `undefined` takes one away. */
export type Environment = Readonly<Record<string, string | undefined>>;

/** A new ledger, a new topic or stream, and the consumers on them. */
export type TestEnvironment = {
  readonly server: Server;
  readonly database: TestDatabase;
  readonly broker: Broker;
  readonly spool: TestSpool;
  readonly ads: readonly NamedAd[];
  /** Creates clicks of several advertisers in turn. */
  readonly clicks: (count: number) => ReadClick[];
  /** Publishes `count` new clicks into every partition. Returns how many these are in all. */
  readonly publishEverySlot: (count: number) => Promise<number>;
  /** Starts a consumer in this process. */
  readonly consume: (options?: ConsumeOptions) => Promise<Consumer>;
  /** Starts a consumer as a process: the processor, or another script. */
  readonly run: (options?: { env?: Environment; script?: string }) => Promise<Running>;
  /** Closes a resource when the environment ends. */
  readonly later: (close: () => Promise<unknown>) => void;
};

export type ConsumeOptions = {
  /** Wraps `submit`, which the source calls. */
  readonly wrap?: (submit: Submit) => Submit;
  readonly env?: Record<string, string>;
};

export type Consumer = {
  /** The source of the tested broker. */
  readonly source: EventSource;
  readonly metrics: ProcessMetrics;
  /** Its log lines. */
  readonly logged: { readonly level: number; readonly msg: string }[];
  /** Why it ended; `null` unless it failed. */
  readonly failure: () => unknown;
  /** How many of its clicks were duplicates. */
  readonly duplicates: () => Promise<number>;
  readonly stop: () => Promise<void>;
};

export type Running = {
  readonly child: ChildProcess;
  readonly opsUrl: string;
  readonly printed: () => string;
  /** Resolves to its exit code; null after a signal. */
  readonly ended: Promise<number | null>;
  readonly kill: (signal: NodeJS.Signals) => Promise<number | null>;
};

/** Creates an environment, runs `work` in it and removes it. Throws the first error, which can cause others when all is closed. */
export async function withEnvironment(
  server: Server,
  work: (environment: TestEnvironment) => Promise<void>,
  env: Record<string, string> = {},
): Promise<void> {
  const database = await createTestDatabase();
  const closing: (() => Promise<unknown>)[] = [database.drop];
  const errors: unknown[] = [];
  const attempt = async (step: () => Promise<unknown>) => {
    await step().catch((error: unknown) => errors.push(error));
  };
  await attempt(async () => {
    const ads: NamedAd[] = [];
    for (let count = 0; count < 3; count += 1)
      ads.push((await addAccount(database.pool, { budget: '1000000.00' })).ad);
    const broker = await server.open(database, env);
    closing.push(broker.close);
    const spool = new TestSpool();
    const clicks = (count: number) =>
      Array.from({ length: count }, () => {
        const ad = ads[spool.accepted % ads.length];
        if (!ad) throw new Error('Expected an ad');
        return spool.click({ ad });
      });
    const later = (close: () => Promise<unknown>) => void closing.push(close);
    await work({
      server,
      database,
      broker,
      spool,
      ads,
      clicks,
      publishEverySlot: async (count) => {
        for (let slot = 0; slot < SLOTS; slot += 1) await broker.publishTo(slot, clicks(count));
        return count * SLOTS;
      },
      consume: (options) => startConsumer(broker, later, options),
      run: (options) => startProcess(broker, later, options),
      later,
    });
  });
  for (const close of closing.reverse()) await attempt(close);
  if (errors.length > 0) throw errors[0];
}

async function startConsumer(
  broker: Broker,
  later: TestEnvironment['later'],
  { wrap = (submit) => submit, env = {} }: ConsumeOptions = {},
): Promise<Consumer> {
  const config = parseConfig({ ...broker.env, ...env });
  const url = config.DATABASE_URL ?? '';
  const pool = createPool(url, 'test consumer', 6, () => undefined);
  const metrics = createMetrics();
  const logged: Consumer['logged'] = [];
  const logger = pino({ level: 'info' }, { write: (line: string) => logged.push(JSON.parse(line)) });
  const options = {
    batchSize: config.BATCH_SIZE,
    lanes: config.PARALLELIZATION,
    clickAgeMaxDays: config.CLICK_AGE_MAX_DAYS,
    retryAttempts: config.RETRY_ATTEMPTS,
  };
  let failure: unknown = null;
  const fail = (error: unknown) => {
    failure ??= error;
  };
  const dispatcher = new BatchDispatcher(pool, options, { metrics, logger, onInvariant: fail });
  const given = wrap(dispatcher.submit);
  // Batches that a failed test holds back are rejected at its end.
  const over = Promise.withResolvers<never>();
  over.promise.catch(() => undefined);
  const submit: Submit = (records, signal) => Promise.race([given(records, signal), over.promise]);
  const sink = {
    waitForCapacity: dispatcher.waitForCapacity,
    submit,
    commitProbes: dispatcher.commitProbes,
    forget: dispatcher.forget,
    unlockedCount: dispatcher.unlockedCount,
  };
  const sources = await createSources({ ...config, DATABASE_URL: url }, pool, sink, { metrics, logger });
  const source = sources.get(config.BROKER);
  if (!source) throw new Error(`Expected a source of ${config.BROKER}`);
  const ended = [...sources.values()].map((one) => one.run().catch(fail));
  let stopping: Promise<void> | null = null;
  const stop = async () => {
    await Promise.all([...sources.values()].map((one) => one.stop()));
    await Promise.all(ended);
    await pool.end();
  };
  const stopOnce = () => {
    stopping ??= stop();
    return stopping;
  };
  later(() => {
    dispatcher.abort();
    over.reject(new TollwayError(STOPPING, 'The test has ended', { retryable: true }));
    return stopOnce();
  });
  return {
    source,
    metrics,
    logged,
    failure: () => failure,
    duplicates: async () => (await metrics.duplicates.get()).values[0]?.value ?? 0,
    stop: stopOnce,
  };
}

async function startProcess(
  broker: Broker,
  later: TestEnvironment['later'],
  { env = {}, script = 'processor/main.ts' }: { readonly env?: Environment; readonly script?: string } = {},
): Promise<Running> {
  const [port] = await freePorts(1);
  const { KAFKA_BROKERS: _, CI: __, ...inherited } = process.env;
  const child = runScript(script, {
    ...inherited,
    ...broker.env,
    PROCESSOR_OPS_PORT: String(port),
    ...env,
  });
  let printed = '';
  for (const stream of [child.stdout, child.stderr])
    stream?.setEncoding('utf8').on('data', (text) => {
      printed += text;
    });
  const ended = once(child, 'close').then(([code]) => code as number | null);
  const kill = (signal: NodeJS.Signals) => {
    child.kill(signal);
    return ended;
  };
  later(() => kill('SIGKILL'));
  return { child, opsUrl: `http://127.0.0.1:${port}`, printed: () => printed, ended, kill };
}

/** Counts the clicks in the ledger. */
export async function countSettled(pool: Pool): Promise<number> {
  const { rows } = await pool.query<{ count: number }>('select count(*)::int as count from ledger');
  return rows[0]?.count ?? 0;
}

/** Waits until the ledger has `count` clicks. Throws the failure of the consumer if it has one. */
export async function untilSettled(
  pool: Pool,
  count: number,
  consumer?: Consumer,
  maxMs = 40_000,
): Promise<void> {
  let settled = 0;
  const holds = async () => {
    if (consumer?.failure()) throw consumer.failure();
    settled = await countSettled(pool);
    return settled >= count;
  };
  await until(`${count} settled clicks`, holds, maxMs).catch((error: unknown) => {
    const logged = JSON.stringify(consumer?.logged ?? []);
    throw new Error(`Expected ${count} settled clicks, got ${settled}; logged: ${logged}`, { cause: error });
  });
}

/** Waits until checkpoints pass all that is settled now. Returns at once for a broker without checkpoints. */
export async function untilCheckpointed({
  broker,
  database: { pool },
  clicks,
}: TestEnvironment): Promise<void> {
  if (Object.keys(broker.deletePositions).length === 0) return;
  // Checkpoints are written together, and this click is settled after all others: when its checkpoint moves, all have.
  const { rows } = await pool.query<{ now: Date }>('select clock_timestamp() as now');
  const [last] = clicks(1);
  if (!last) throw new Error('Expected a click');
  await broker.publishTo(SLOTS - 1, [last]);
  const isSettled = async () =>
    (await pool.query('select from ledger where click_id = $1', [last.click.clickId])).rowCount === 1;
  await until('the last click in the ledger', isSettled);
  const hasMoved = async () =>
    (await pool.query('select from broker_checkpoint where moved_at > $1', [rows[0]?.now])).rowCount !== 0;
  await until('a checkpoint that moves', hasMoved);
}

/** Expects that the books balance, and that every accepted click is charged once. */
export async function expectAllCharged(
  environment: TestEnvironment,
  pool: Pool = environment.database.pool,
): Promise<Reconciliation> {
  const reconciliation = await expectTrueBooks(environment, pool);
  expect(reconciliation).toMatchObject({
    accepted: environment.spool.accepted,
    charged: environment.spool.accepted,
    inFlight: 0,
  });
  return reconciliation;
}

/** Longest time until a broker answers after an interruption, in ms: Kafka elects leaders again. */
const RECOVERY_MS_MAX = 20_000;

/** Expects that the books balance and that no click is missing. Queries a broker again that does not answer yet. */
export async function expectTrueBooks(
  environment: TestEnvironment,
  pool: Pool = environment.database.pool,
): Promise<Reconciliation> {
  const reconciliation = await reconcileOnceAnswered(environment, pool);
  expect(reconciliation.problems).toEqual([]);
  expect(reconciliation).toMatchObject({ balanced: true, missing: 0 });
  return reconciliation;
}

async function reconcileOnceAnswered({ broker }: TestEnvironment, pool: Pool): Promise<Reconciliation> {
  const deadline = performance.now() + RECOVERY_MS_MAX;
  for (;;) {
    try {
      return await reconcile(pool, { deep: true, brokers: broker.backlogs });
    } catch (error) {
      const isRetryable = error instanceof TollwayError && error.retryable;
      if (!isRetryable || performance.now() > deadline) throw error;
      await sleep(100);
    }
  }
}

/** A promise that resolves when `open` is called. */
export function gate(): { readonly opened: Promise<void>; readonly open: () => void } {
  const { promise, resolve } = Promise.withResolvers<void>();
  return { opened: promise, open: resolve };
}

/** Makes every batch take `seconds` longer. */
export async function slowDown(pool: Pool, seconds: number): Promise<void> {
  await pool.query(
    `create function slow() returns trigger language plpgsql as $$ begin perform pg_sleep(${seconds}); return null; end $$`,
  );
  await pool.query('create trigger slow after insert on ledger for each statement execute function slow()');
}

/** Copies the database of an environment as it is now, as a backup does. Breaks all connections to it. */
export async function backUp(environment: TestEnvironment): Promise<{ url: string; pool: Pool }> {
  const url = new URL(environment.database.url);
  const source = url.pathname.slice(1);
  const name = `tollway_test_${uuidV7().replaceAll('-', '')}`;
  await copyDatabase(source, name);
  url.pathname = `/${name}`;
  const pool = createPool(url.href, 'test backup', 4, () => undefined);
  environment.later(async () => {
    await pool.end();
    await administer((query) => query(`drop database ${name} with (force)`));
  });
  return { url: url.href, pool };
}

/** Replaces the ledger by a backup while it is in use. Breaks all connections to both. */
export async function restore({ database }: TestEnvironment, backup: { url: string }): Promise<void> {
  const name = new URL(database.url).pathname.slice(1);
  const backupName = new URL(backup.url).pathname.slice(1);
  await administer((query) => query(`drop database ${name} with (force)`));
  await copyDatabase(backupName, name);
}

/** Copies a database. Breaks all connections to the source. */
export async function copyDatabase(source: string, name: string): Promise<void> {
  await administer(async (query) => {
    await query(`alter database ${source} allow_connections false`);
    await query(`select pg_terminate_backend(pid, 5000) from pg_stat_activity where datname = '${source}'`);
    await query(`create database ${name} template ${source} strategy file_copy`);
    await query(`alter database ${source} allow_connections true`);
    await query(`alter database ${name} allow_connections true`);
  });
}

/** Runs statements as the superuser of the server. */
export async function administer(
  work: (query: (sql: string) => Promise<unknown>) => Promise<unknown>,
): Promise<void> {
  const client = createClient(inject('databaseServerUrl'), 'test setup');
  await client.connect();
  try {
    await work((sql) => client.query(sql));
  } finally {
    await client.end();
  }
}
