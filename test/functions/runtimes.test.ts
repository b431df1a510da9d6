import { describe, expect, inject, it } from 'vitest';
import { createClient } from '../../common/postgres/postgres.ts';
import type { BrokerRecord, ReadClick } from '../../contract/click-event.ts';
import { expectBalanced } from '../support/charge-batch.ts';
import { addAccount, createTestDatabase, type TestDatabase } from '../support/database.ts';
import { type NamedAd, TestSpool } from '../support/records.ts';
import { isSkipped } from '../support/skipped.ts';
import { builtFunctions } from './bundles.ts';
import { type Runtime, type RuntimeKind, runtimeKinds } from './runtimes.ts';

const root = builtFunctions();

const kinds = await Promise.all(
  runtimeKinds.map(async (kind) => ({ name: kind.name, kind, skipped: isSkipped(await kind.missing()) })),
);
/** Timeout that includes compiling AWS's runtime client if it is not cached. */
const RUN_MS_MAX = 120_000;
/** A deadline that is too near to begin a batch. */
const NO_TIME_MS = 900;
/** A deadline that leaves time to begin a batch but not to finish it. */
const LITTLE_TIME_MS = 2_500;

/** A ledger and a function on it. */
type TestEnvironment = {
  readonly kind: RuntimeKind;
  readonly runtime: Runtime;
  readonly database: TestDatabase;
  readonly spool: TestSpool;
  readonly clicks: (count: number, ad?: NamedAd) => ReadClick[];
  readonly ads: readonly NamedAd[];
};

async function withEnvironment(
  kind: RuntimeKind,
  work: (environment: TestEnvironment) => Promise<void>,
  env: Record<string, string | undefined> = {},
): Promise<void> {
  const database = await createTestDatabase();
  const given = { DATABASE_URL: database.url, BATCH_SIZE: '50', LOG_LEVEL: 'info', ...env };
  const settings = Object.entries(given).filter(([, value]) => value !== undefined) as [string, string][];
  try {
    const ads: NamedAd[] = [];
    for (let count = 0; count < 3; count += 1)
      ads.push((await addAccount(database.pool, { budget: '1000.00' })).ad);
    const runtime = await kind.start(root, Object.fromEntries(settings));
    const spool = new TestSpool();
    const next = () => ads[spool.accepted % ads.length] as NamedAd;
    const clicks = (count: number, ad?: NamedAd) =>
      Array.from({ length: count }, () => spool.click({ ad: ad ?? next() }));
    try {
      await work({ kind, runtime, database, spool, clicks, ads });
    } catch (error) {
      process.stderr.write(runtime.logs());
      throw error;
    } finally {
      await runtime.stop();
    }
  } finally {
    await database.drop();
  }
}

const expectDone = async ({ runtime }: TestEnvironment, records: readonly BrokerRecord[]) =>
  expect(await runtime.submit(records)).toMatchObject({ settled: records.length });

/** Holds the lock of an advertiser while `work` runs. */
async function whileLocked(
  { database }: TestEnvironment,
  ad: NamedAd | undefined,
  work: () => Promise<void>,
): Promise<void> {
  const blocker = await database.pool.connect();
  try {
    await blocker.query('begin');
    await blocker.query('select from advertiser where id = $1 for update', [ad?.advertiserId]);
    await work();
    await blocker.query('rollback');
  } finally {
    blocker.release(true);
  }
}

/** Number of open transactions of other programs in the database. */
async function openTransactions({ pool }: TestDatabase): Promise<number> {
  const { rows } = await pool.query<{ count: number }>(
    `select count(*)::int as count from pg_stat_activity
     where datname = current_database() and application_name not like '%test' and xact_start is not null`,
  );
  return rows[0]?.count ?? 0;
}

/** Closes all connections to a database and refuses new ones. Returns a function that accepts connections again. */
async function closeDatabase({ pool, url }: TestDatabase): Promise<() => Promise<void>> {
  const database = new URL(url).pathname.slice(1);
  const server = createClient(inject('databaseServerUrl'), 'test');
  await server.connect();
  await server.query(`alter database ${database} with allow_connections false`);
  await pool.query(
    `select pg_terminate_backend(pid) from pg_stat_activity
     where datname = current_database() and application_name not like '%test'`,
  );
  return async () => {
    await server.query(`alter database ${database} with allow_connections true`);
    await server.end();
  };
}

describe.each(kinds)('the handler on $name', ({ kind, skipped }) => {
  const on = (
    what: string,
    work: (environment: TestEnvironment) => Promise<void>,
    env: Record<string, string | undefined> = {},
  ) => it.skipIf(skipped)(what, () => withEnvironment(kind, work, env), RUN_MS_MAX);

  on(
    'charges a valid batch once, cold and warm, in one process, and logs one line for it',
    async (environment) => {
      const { runtime, database, spool, clicks } = environment;
      await expectDone(environment, [...clicks(120), spool.watermark()]);
      const cold = runtime.pid();
      await expectDone(environment, clicks(30));
      await expectDone(environment, clicks(1));
      expect(runtime.pid()).toBe(cold);
      expect(await expectBalanced(database.pool)).toMatchObject({ accepted: 151, charged: 151, missing: 0 });
      const lines = linesOf(runtime).filter(({ msg }) => msg === 'A batch');
      expect(lines).toHaveLength(3);
      expect(lines[0]).toMatchObject({
        part: kind.name,
        records: 121,
        settled: 121,
        outcomes: { charged: 120 },
      });
      expect(new Set(lines.map(({ invocation }) => invocation)).size).toBe(3);
    },
  );

  on('writes metrics in the embedded metric format, under their names', async (environment) => {
    const { runtime, clicks, ads } = environment;
    const [ad] = ads;
    await expectDone(environment, [
      ...clicks(200, ad),
      ...clicks(1).map((click) => ({ ...click, value: Buffer.from('x') })),
    ]);
    const metrics = linesOf(runtime).filter((line) => '_aws' in line);
    const named = (name: string) => metrics.filter((line) => name in line);
    expect(named('tollway_clicks_total')).toMatchObject([
      { service: kind.name, outcome: 'charged', tollway_clicks_total: 200 },
      { service: kind.name, outcome: 'rejected', reason: 'malformed', tollway_clicks_total: 1 },
    ]);
    const [{ _aws: meta, tollway_click_to_charge_seconds: seconds } = {}] = named(
      'tollway_click_to_charge_seconds',
    );
    expect(meta).toMatchObject({ CloudWatchMetrics: [{ Namespace: 'Tollway' }] });
    expect(seconds).toHaveLength(100);
  });

  on('charges no click twice if a batch is delivered twice or has copies', async (environment) => {
    const { database, clicks } = environment;
    const batch = clicks(60);
    await expectDone(environment, [...batch, ...batch.slice(20)]);
    await expectDone(environment, batch.toReversed());
    expect(await expectBalanced(database.pool)).toMatchObject({ accepted: 60, charged: 60 });
  });

  on(
    'turns a poison record into a dead letter with its bytes, and charges the other records',
    async (environment) => {
      const { database, clicks, spool } = environment;
      const batch: BrokerRecord[] = clicks(40);
      const [poison] = clicks(1);
      await refuse(database, poison);
      const garbage = { key: `${spool.id}.${spool.next().sequence}`, value: Buffer.from('no click') };
      batch.splice(20, 0, garbage, poison as ReadClick, { key: 'foreign', value: Buffer.from('{}') });
      await expectDone(environment, batch);
      await expectDone(environment, batch);
      const { rows } = await database.pool.query('select reason, raw from dead_letter order by reason, raw');
      expect(rows.map(({ reason, raw }) => [reason, raw])).toEqual([
        ['malformed', garbage.value],
        ['malformed', Buffer.from('{}')],
        ['poison', poison?.value],
      ]);
      expect(await expectBalanced(database.pool)).toMatchObject({ accepted: 42, charged: 40, rejected: 2 });
    },
  );

  on('turns a poison record that is alone in its batch into a dead letter', async (environment) => {
    const { database, clicks } = environment;
    const [poison] = clicks(1);
    await refuse(database, poison);
    await expectDone(environment, [poison as ReadClick]);
    expect(await expectBalanced(database.pool)).toMatchObject({ accepted: 1, charged: 0, rejected: 1 });
  });

  on(
    'reports all records as unsettled while the database is down, makes no dead letters, and charges them later',
    async (environment) => {
      const { runtime, database, clicks } = environment;
      await expectDone(environment, clicks(10));
      const batch = clicks(70);
      const reopen = await closeDatabase(database);
      try {
        const { settled, message } = await runtime.submit(batch, LITTLE_TIME_MS);
        expect(settled).toBe(0);
        if (kind.again === 'none')
          expect(message).toMatch(
            /70 of 70 records were not settled in time, from .*@0 on.*\(database .* is not currently accepting connections\)/,
          );
        if (kind.again === 'sender')
          expect(message).toMatch(
            /^503 .*70 of 70 events were not settled in time: database .* is not currently accepting/,
          );
      } finally {
        await reopen();
      }
      expect((await database.pool.query('select from dead_letter')).rowCount).toBe(0);
      await expectDone(environment, batch);
      expect(await expectBalanced(database.pool)).toMatchObject({ accepted: 80, charged: 80 });
    },
  );

  on(
    'reports records as unsettled from the first unfinished batch on, and holds no lock while it is frozen',
    async (environment) => {
      const { runtime, database, clicks, ads } = environment;
      const [first, second] = ads;
      const batch = [...clicks(50, first), ...clicks(50, second), ...clicks(50, first)];
      await whileLocked(environment, second, async () => {
        const { settled } = await runtime.submit(batch, LITTLE_TIME_MS);
        expect(settled).toBe(kind.again === 'platform' ? 50 : 0);
        await runtime.freeze();
        // A backend that waits for a lock notices only after it gets the lock that its client is gone, so the lock is released.
      });
      await expect.poll(() => openTransactions(database), { timeout: 5_000 }).toBe(0);
      expect((await database.pool.query('select from ledger')).rowCount).toBe(50);
      await expectDone(environment, batch);
      expect(await expectBalanced(database.pool)).toMatchObject({ accepted: 150, charged: 150 });
    },
  );

  if (kind.hasDeadline) {
    on('begins no batch near its deadline', async (environment) => {
      const { runtime, database, clicks } = environment;
      await expectDone(environment, clicks(1));
      const batch = clicks(20);
      expect(await runtime.submit(batch, NO_TIME_MS)).toMatchObject({ settled: 0 });
      expect((await database.pool.query('select from ledger')).rowCount).toBe(1);
      await expectDone(environment, batch);
      expect(await expectBalanced(database.pool)).toMatchObject({ accepted: 21, charged: 21 });
    });
  }

  on('continues after it was frozen and its connections were closed', async (environment) => {
    const { runtime, database, clicks } = environment;
    await expectDone(environment, clicks(5));
    const pid = runtime.pid();
    await runtime.freeze();
    const reopen = await closeDatabase(database);
    await reopen();
    await expectDone(environment, clicks(5));
    expect(runtime.pid()).toBe(pid);
    expect(await expectBalanced(database.pool)).toMatchObject({ accepted: 10, charged: 10 });
  });

  on(
    'reports a missing setting, and settles no record',
    async ({ runtime, clicks }) => {
      const { settled, message } = await runtime.submit(clicks(2));
      // The answer makes the sender or the platform retry.
      expect(settled).toBe(0);
      expect(message).toContain(
        `${kind.name}: DATABASE_URL: expected the database of the ledger, got nothing`,
      );
    },
    { DATABASE_URL: undefined },
  );

  on(
    'logs a misspelt setting once per process, without its value, even if it cannot start',
    async ({ runtime, clicks }) => {
      for (let count = 0; count < 2; count += 1) expect((await runtime.submit(clicks(1))).settled).toBe(0);
      const warning =
        'The environment variable DATABSE_URL is not a setting of Tollway and is ignored. Did you mean DATABASE_URL?';
      await expect.poll(() => runtime.logs(), { timeout: 5_000 }).toContain(warning);
      expect(runtime.logs().split(warning)).toHaveLength(2);
      expect(runtime.logs()).not.toContain('c2VjcmV0');
    },
    { DATABASE_URL: undefined, DATABSE_URL: 'postgres://user:c2VjcmV0@db.example.com/tollway' },
  );

  on(
    'reports every invalid setting',
    async ({ runtime, clicks }) => {
      const { settled, message } = await runtime.submit(clicks(2));
      expect(settled).toBe(0);
      expect(message).toMatch(
        new RegExp(`${kind.name}: .*BATCH_SIZE: expected a whole number of 1–10000`, 's'),
      );
    },
    { BATCH_SIZE: 'many' },
  );

  on(
    'refuses events of other services with an error that names the function, and keeps nothing of them',
    async ({ runtime, database }) => {
      const sqs = { Records: [{ messageId: '1', body: '{}', eventSource: 'aws:sqs' }] };
      const sns = { Records: [{ EventSource: 'aws:sns', Sns: { Message: '{}' } }] };
      for (const event of [{}, sqs, sns, { records: {} }]) {
        const { message } = await runtime.send(event);
        expect(message).toContain(`${kind.name}: `);
        expect(message).toMatch(/expected .*, got /);
      }
      expect((await database.pool.query('select from dead_letter')).rowCount).toBe(0);
    },
  );
});

/** Its log lines in JSON. */
function linesOf(runtime: Runtime): Record<string, unknown>[] {
  return runtime
    .logs()
    .split('\n')
    .filter((line) => line.startsWith('{'))
    .map((line) => JSON.parse(line));
}

/** Makes the ledger reject one click permanently. */
async function refuse({ pool }: TestDatabase, record: ReadClick | undefined): Promise<void> {
  await pool.query(
    `create function refuse() returns trigger language plpgsql as
     $$ begin if new.click_id = '${record?.click.clickId}' then raise exception 'refused'; end if; return new; end $$`,
  );
  await pool.query('create trigger refuse before insert on ledger for each row execute function refuse()');
}
