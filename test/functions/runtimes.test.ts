import { describe, expect, inject, it } from 'vitest';
import { createClient } from '../../common/postgres/postgres.ts';
import type { BrokerRecord, ReadClick } from '../../contract/click-event.ts';
import { addAccount, createTestDatabase, type TestDatabase } from '../support/database.ts';
import { expectBalanced } from '../support/deliver.ts';
import { type NamedAd, TestSpool } from '../support/records.ts';
import { isSkipped } from '../support/skipped.ts';
import { builtFunctions } from './bundles.ts';
import { type Runtime, type RuntimeKind, runtimeKinds } from './runtimes.ts';

const root = builtFunctions();

const kinds = await Promise.all(
  runtimeKinds.map(async (kind) => ({ name: kind.name, kind, skipped: isSkipped(await kind.missing()) })),
);
/** Compiling AWS's client, should it not be there yet. */
const RUN_MS_MAX = 120_000;
/** A deadline that leaves no time to begin anything. */
const NO_TIME_MS = 900;
/** One that leaves time to begin, and to be cut off. */
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
  expect(await runtime.submit(records)).toMatchObject({ done: records.length });

/** Holds the locks of an advertiser while something is done. */
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

/** How many transactions of others are open in the database. */
async function openTransactions({ pool }: TestDatabase): Promise<number> {
  const { rows } = await pool.query<{ count: number }>(
    `select count(*)::int as count from pg_stat_activity
     where datname = current_database() and application_name not like '%test' and xact_start is not null`,
  );
  return rows[0]?.count ?? 0;
}

/** Lets nobody into a database, and throws out who is there. Answers what lets them in again. */
async function shut({ pool, url }: TestDatabase): Promise<() => Promise<void>> {
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
    'charges a good batch once, cold and warm, in one process, and says so in one line',
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

  on('reports metrics in embedded format, under their names', async (environment) => {
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

  on('charges nobody twice for a batch that comes twice, or holds copies', async (environment) => {
    const { database, clicks } = environment;
    const batch = clicks(60);
    await expectDone(environment, [...batch, ...batch.slice(20)]);
    await expectDone(environment, batch.toReversed());
    expect(await expectBalanced(database.pool)).toMatchObject({ accepted: 60, charged: 60 });
  });

  on('quarantines poison in the middle with its bytes, and charges its neighbours', async (environment) => {
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
  });

  on('quarantines poison that comes alone: it blocks nothing for good', async (environment) => {
    const { database, clicks } = environment;
    const [poison] = clicks(1);
    await refuse(database, poison);
    await expectDone(environment, [poison as ReadClick]);
    expect(await expectBalanced(database.pool)).toMatchObject({ accepted: 1, charged: 0, rejected: 1 });
  });

  on(
    'gives everything back while the database is away, quarantines nothing, and charges it later',
    async (environment) => {
      const { runtime, database, clicks } = environment;
      await expectDone(environment, clicks(10));
      const batch = clicks(70);
      const letIn = await shut(database);
      try {
        const { done, said } = await runtime.submit(batch, LITTLE_TIME_MS);
        expect(done).toBe(0);
        if (kind.again === 'nobody')
          expect(said).toMatch(
            /70 of 70 records were not settled in time, from .*@0 on.*\(database .* is not currently accepting connections\)/,
          );
        if (kind.again === 'sender')
          expect(said).toMatch(
            /^503 .*70 of 70 events were not settled in time: database .* is not currently accepting/,
          );
      } finally {
        await letIn();
      }
      expect((await database.pool.query('select from dead_letter')).rowCount).toBe(0);
      await expectDone(environment, batch);
      expect(await expectBalanced(database.pool)).toMatchObject({ accepted: 80, charged: 80 });
    },
  );

  on(
    'gives back from the first batch on that it could not end in time, and holds no lock while it is frozen',
    async (environment) => {
      const { runtime, database, clicks, ads } = environment;
      const [first, second] = ads;
      const batch = [...clicks(50, first), ...clicks(50, second), ...clicks(50, first)];
      await whileLocked(environment, second, async () => {
        const { done } = await runtime.submit(batch, LITTLE_TIME_MS);
        expect(done).toBe(kind.again === 'platform' ? 50 : 0);
        await runtime.freeze();
        // Whoever waits for a lock when its client goes gets it first, and then finds out: so the lock is let go.
      });
      await expect.poll(() => openTransactions(database), { timeout: 5_000 }).toBe(0);
      expect((await database.pool.query('select from ledger')).rowCount).toBe(50);
      await expectDone(environment, batch);
      expect(await expectBalanced(database.pool)).toMatchObject({ accepted: 150, charged: 150 });
    },
  );

  if (kind.hasDeadline) {
    on('begins nothing when its deadline is near', async (environment) => {
      const { runtime, database, clicks } = environment;
      await expectDone(environment, clicks(1));
      const batch = clicks(20);
      expect(await runtime.submit(batch, NO_TIME_MS)).toMatchObject({ done: 0 });
      expect((await database.pool.query('select from ledger')).rowCount).toBe(1);
      await expectDone(environment, batch);
      expect(await expectBalanced(database.pool)).toMatchObject({ accepted: 21, charged: 21 });
    });
  }

  on('goes on after it was frozen and its connections broke', async (environment) => {
    const { runtime, database, clicks } = environment;
    await expectDone(environment, clicks(5));
    const pid = runtime.pid();
    await runtime.freeze();
    const letIn = await shut(database);
    await letIn();
    await expectDone(environment, clicks(5));
    expect(runtime.pid()).toBe(pid);
    expect(await expectBalanced(database.pool)).toMatchObject({ accepted: 10, charged: 10 });
  });

  on(
    'says which setting it lacks, and takes nothing',
    async ({ runtime, clicks }) => {
      const { done, said } = await runtime.submit(clicks(2));
      // A sender is told to send it again, a platform that the call failed.
      expect(done).toBe(0);
      expect(said).toContain(`${kind.name}: DATABASE_URL: expected the database of the ledger, got nothing`);
    },
    { DATABASE_URL: undefined },
  );

  on(
    'names a misspelt setting once in its process, even if it never opens, and without its value',
    async ({ runtime, clicks }) => {
      for (let count = 0; count < 2; count += 1) expect((await runtime.submit(clicks(1))).done).toBe(0);
      const warning =
        'The environment variable DATABSE_URL is not a setting of Tollway and is ignored. Did you mean DATABASE_URL?';
      await expect.poll(() => runtime.logs(), { timeout: 5_000 }).toContain(warning);
      expect(runtime.logs().split(warning)).toHaveLength(2);
      expect(runtime.logs()).not.toContain('c2VjcmV0');
    },
    { DATABASE_URL: undefined, DATABSE_URL: 'postgres://user:c2VjcmV0@db.example.com/tollway' },
  );

  on(
    'names every bad setting',
    async ({ runtime, clicks }) => {
      const { done, said } = await runtime.submit(clicks(2));
      expect(done).toBe(0);
      expect(said).toMatch(new RegExp(`${kind.name}: .*BATCH_SIZE: expected a whole number of 1–10000`, 's'));
    },
    { BATCH_SIZE: 'many' },
  );

  on(
    'refuses the events of other services by name, and takes nothing of them',
    async ({ runtime, database }) => {
      const sqs = { Records: [{ messageId: '1', body: '{}', eventSource: 'aws:sqs' }] };
      const sns = { Records: [{ EventSource: 'aws:sns', Sns: { Message: '{}' } }] };
      for (const event of [{}, sqs, sns, { records: {} }]) {
        const { said } = await runtime.send(event);
        expect(said).toContain(`${kind.name}: `);
        expect(said).toMatch(/expected .*, got /);
      }
      expect((await database.pool.query('select from dead_letter')).rowCount).toBe(0);
    },
  );
});

/** What it has printed as JSON. */
function linesOf(runtime: Runtime): Record<string, unknown>[] {
  return runtime
    .logs()
    .split('\n')
    .filter((line) => line.startsWith('{'))
    .map((line) => JSON.parse(line));
}

/** Makes the ledger fail for good for one click. */
async function refuse({ pool }: TestDatabase, record: ReadClick | undefined): Promise<void> {
  await pool.query(
    `create function refuse() returns trigger language plpgsql as
     $$ begin if new.click_id = '${record?.click.clickId}' then raise exception 'refused'; end if; return new; end $$`,
  );
  await pool.query('create trigger refuse before insert on ledger for each row execute function refuse()');
}
