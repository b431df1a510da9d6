import { join } from 'node:path';
import { gzipSync, zstdCompressSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import { createClient, type Pool } from '../../common/postgres/postgres.ts';
import { type Lambda, startLambda } from '../../emulators/lambda/runtime.ts';
import { ricIsMissing } from '../../emulators/lambda/runtime-client.ts';
import { type S3Server, startS3 } from '../../emulators/s3/server.ts';
import { expectBalanced } from '../support/charge-batch.ts';
import { addAccount, createTestDatabase, type TestDatabase } from '../support/database.ts';
import type { NamedAd } from '../support/records.ts';
import { isSkipped } from '../support/skipped.ts';
import { builtFunctions } from './bundles.ts';
import { clickLines, type LineOverrides, s3Event } from './click-lines.ts';

const root = builtFunctions();
const skipped = isSkipped(await ricIsMissing());
/** Timeout that includes compiling AWS's runtime client if it is not cached. */
const RUN_MS_MAX = 120_000;
const BUCKET = 'clicks';
/** A key with all characters that S3 encodes in its notifications. */
const KEY = '2026/Über 1+1 = 2 & mehr.ndjson';
/** A deadline that is too near to begin a batch. */
const NO_TIME_MS = 900;

type TestEnvironment = {
  readonly s3: S3Server;
  readonly running: Lambda;
  readonly database: TestDatabase;
  readonly pool: Pool;
  /** Lines of clicks on the ads of several advertisers, alternating. */
  readonly lines: (count: number, overrides?: LineOverrides) => string[];
  /** Stores an object and calls the function like S3. Returns its records or its error. */
  readonly charge: (key: string, body?: Buffer | readonly Buffer[], deadlineMs?: number) => Promise<unknown>;
};

async function withEnvironment<T>(
  work: (environment: TestEnvironment) => Promise<T>,
  memoryMegabytes = 256,
): Promise<T> {
  const database = await createTestDatabase();
  try {
    const ads: NamedAd[] = [];
    for (let count = 0; count < 3; count += 1)
      ads.push((await addAccount(database.pool, { budget: '1000000.00' })).ad);
    const running = await startLambda({
      folder: join(root, 'lambda-file'),
      functionName: 'lambda-file',
      memoryMegabytes,
      env: {
        ...s3.env,
        // Lambda provides AWS's clients, which are not in the bundle.
        NODE_PATH: join(import.meta.dirname, '..', '..', 'node_modules'),
        DATABASE_URL: database.url,
        LOG_LEVEL: 'info',
      },
    });
    const charge: TestEnvironment['charge'] = async (key, body, deadlineMs = 30_000) => {
      if (body !== undefined) s3.put(BUCKET, key, body);
      const result = await running.invoke(s3Event(BUCKET, key), { deadlineMs });
      return 'error' in result ? result.error.errorMessage : result.answer;
    };
    const lines: TestEnvironment['lines'] = (count, overrides) => clickLines(ads, count, overrides);
    try {
      return await work({ s3, running, database, pool: database.pool, lines, charge });
    } catch (error) {
      process.stderr.write(running.logs());
      throw error;
    } finally {
      s3.intercept(null);
      s3.breakAfter(null);
      await running.stop();
    }
  } finally {
    await database.drop();
  }
}

let s3: S3Server;
beforeAll(async () => {
  s3 = await startS3([BUCKET]);
});
afterAll(() => s3.stop());

const fileOf = (lines: readonly string[]) => Buffer.from(lines.map((line) => `${line}\n`).join(''));

/** The result of a deep reconciliation. Clicks of a file have no spool id. */
async function expectBooks(pool: Pool, unattributed: number, letters = 0): Promise<void> {
  const reconciliation = await expectBalanced(pool);
  expect(reconciliation).toMatchObject({ accepted: 0, unattributed });
  const spent = reconciliation.advertisers.reduce((sum, { spentMicros }) => sum + spentMicros, 0n);
  expect(spent).toBe(BigInt(unattributed) * 250_000n);
  expect((await pool.query('select from dead_letter')).rowCount).toBe(letters);
}

const on = (what: string, work: (environment: TestEnvironment) => Promise<void>) =>
  it.skipIf(skipped)(what, () => withEnvironment(work), RUN_MS_MAX);

describe('a file of clicks', () => {
  on(
    'is charged, with and without ids, plain and gzip; repeated files change nothing',
    async (environment) => {
      const { pool, lines, charge } = environment;
      const plain = fileOf([...lines(5_000), ...lines(5_000, { withId: true })]);
      expect(await charge(KEY, plain)).toEqual({ records: 10_000 });
      await expectBooks(pool, 10_000);
      // The same clicks: again, as gzip, as gzip with another level, and under another name.
      expect(await charge(KEY)).toEqual({ records: 10_000 });
      expect(await charge(`${KEY}.gz`, gzipSync(plain))).toEqual({ records: 10_000 });
      expect(await charge('elsewhere', gzipSync(plain, { level: 1 }))).toEqual({ records: 10_000 });
      await expectBooks(pool, 10_000);
      expect(await charge('other.gz', gzipSync(fileOf(lines(10_000))))).toEqual({ records: 10_000 });
      await expectBooks(pool, 20_000);
    },
  );

  on('is charged together with the other files of its notification', async (environment) => {
    const { pool, lines, running } = environment;
    s3.put(BUCKET, 'one', fileOf(lines(10)));
    s3.put(BUCKET, 'two', fileOf(lines(20)));
    const event = {
      Records: [...s3Event(BUCKET, 'one').Records, ...s3Event(BUCKET, 'two').Records],
    };
    expect(await running.invoke(event)).toEqual({ answer: { records: 30 } });
    await expectBooks(pool, 30);
  });

  on(
    'is charged even if other files of its notification are invalid, which are reported',
    async (environment) => {
      const { pool, lines, running } = environment;
      s3.put(BUCKET, 'utf-16', Buffer.from('[]', 'utf16le'));
      s3.put(BUCKET, 'good', fileOf(lines(10)));
      const event = (...keys: string[]) => ({ Records: keys.flatMap((key) => s3Event(BUCKET, key).Records) });
      expect(await running.invoke(event('utf-16', 'good'))).toMatchObject({
        error: { errorMessage: expect.stringMatching(/^lambda-file: s3:\/\/clicks\/utf-16: .*UTF-16/) },
      });
      await expectBooks(pool, 10);
      expect(await running.invoke(event('utf-16', 'good', 'gone'))).toMatchObject({
        error: { errorMessage: expect.stringMatching(/clicks\/utf-16: .*; .*clicks\/gone, got none$/) },
      });
      await expectBooks(pool, 10);
    },
  );

  on('is charged in the version of its notification, even if there is a newer one', async (environment) => {
    const { pool, lines, running } = environment;
    const versions = [lines(10), lines(20)].map((some) => s3.put(BUCKET, KEY, fileOf(some)));
    for (const [version, records] of [
      [versions[0], 10],
      [versions[1], 20],
    ] as const) {
      expect(await running.invoke(s3Event(BUCKET, KEY, version))).toEqual({ answer: { records } });
    }
    await expectBooks(pool, 30);
    expect(await running.invoke(s3Event(BUCKET, KEY, 'gone'))).toMatchObject({
      error: {
        errorMessage: `lambda-file: expected the object s3://clicks/${KEY} (version gone), got none`,
      },
    });
  });

  on('with invalid lines gives one dead letter for each of them, with its bytes', async (environment) => {
    const { pool, lines, charge } = environment;
    const bad = ['no click', '{"adId":1}', '[]', JSON.stringify({ v: 1, userAgent: 'x'.repeat(9_000) })];
    const file = fileOf([...lines(100), ...bad, ...lines(100)]);
    for (const key of ['bad', 'bad again']) expect(await charge(key, file)).toEqual({ records: 204 });
    await expectBooks(pool, 200, 4);
    const { rows } = await pool.query<{ reason: string; raw: Buffer }>(
      'select reason, raw from dead_letter order by id',
    );
    expect(rows.map(({ reason }) => reason)).toEqual(['malformed', 'malformed', 'malformed', 'malformed']);
    expect(rows.map(({ raw }) => raw.toString()).sort()).toEqual(
      bad.map((line) => line.slice(0, 8_193)).sort(),
    );
  });

  on('with a click that the ledger rejects gives a dead letter for it', async (environment) => {
    const { pool, lines, charge } = environment;
    const all = lines(301, { withId: true });
    const poison = JSON.parse(all[150] ?? '');
    await pool.query(
      `create function refuse() returns trigger language plpgsql as
       $$ begin if new.click_id = '${poison.clickId}' then raise exception 'refused'; end if; return new; end $$`,
    );
    await pool.query('create trigger refuse before insert on ledger for each row execute function refuse()');
    for (const key of ['poison', 'poison again'])
      expect(await charge(key, fileOf(all))).toEqual({ records: 301 });
    const { rows } = await pool.query('select reason, click_id from dead_letter');
    expect(rows).toEqual([{ reason: 'poison', click_id: poison.clickId }]);
    expect(await expectBalanced(pool)).toMatchObject({ unattributed: 301 });
  });

  on('that is empty, or a folder made in the console, has no clicks', async (environment) => {
    const { pool, charge } = environment;
    expect(await charge('2026/', Buffer.alloc(0))).toEqual({ records: 0 });
    expect(await charge('empty.gz', gzipSync(''))).toEqual({ records: 0 });
    await expectBooks(pool, 0);
  });
});

describe('a file that cannot be read completely', () => {
  on('because it is truncated is reported, and nothing of it is charged', async (environment) => {
    const { pool, lines, charge } = environment;
    const packed = gzipSync(fileOf(lines(10_000)));
    expect(await charge('cut.gz', packed.subarray(0, packed.length >> 1))).toBe(
      'lambda-file: s3://clicks/cut.gz: expected a complete gzip file, got one that is truncated or damaged; none of its lines were processed',
    );
    await expectBooks(pool, 0);
    expect(await charge('cut.gz', packed)).toEqual({ records: 10_000 });
    await expectBooks(pool, 10_000);
  });

  on('because it or its bucket does not exist is reported', async (environment) => {
    const { pool, charge, running } = environment;
    expect(await charge(KEY.slice(1))).toBe(
      `lambda-file: expected the object s3://clicks/${KEY.slice(1)}, got none`,
    );
    const result = await running.invoke(s3Event('no-such-bucket', 'file'));
    expect(result).toMatchObject({
      error: { errorMessage: expect.stringMatching(/^lambda-file: s3:\/\/no-such-bucket\/file: .*bucket/) },
    });
    await expectBooks(pool, 0);
  });

  on('because the connection breaks is reported, and charged at the next attempt', async (environment) => {
    const { pool, lines, charge } = environment;
    const file = fileOf(lines(10_000));
    s3.breakAfter(file.length >> 1);
    expect(await charge('broken', file)).toMatch(/^lambda-file: s3:\/\/clicks\/broken: /);
    await expectBooks(pool, 0);
    s3.breakAfter(null);
    expect(await charge('broken')).toEqual({ records: 10_000 });
    await expectBooks(pool, 10_000);
  });

  on(
    'because it was replaced during the read is reported, and the new version is charged',
    async (environment) => {
      const { pool, lines, charge } = environment;
      const [one, other] = [fileOf(lines(500)), fileOf(lines(700))];
      let reads = 0;
      s3.intercept(({ method, key }) => {
        if (method !== 'GET' || key !== 'changing') return;
        reads += 1;
        if (reads === 2) s3.put(BUCKET, 'changing', other);
      });
      expect(await charge('changing', one)).toBe(
        'lambda-file: expected the object s3://clicks/changing, got a changed one',
      );
      await expectBooks(pool, 0);
      expect(await charge('changing')).toEqual({ records: 700 });
      await expectBooks(pool, 700);
    },
  );
});

describe('a file in another encoding', () => {
  on('is read without its byte order mark, and refused if it is not UTF-8', async (environment) => {
    const { pool, lines, charge } = environment;
    const file = fileOf(lines(10));
    expect(await charge('marked', Buffer.concat([Buffer.from('\ufeff'), file]))).toEqual({ records: 10 });
    await expectBooks(pool, 10);
    expect(await charge('utf-16', Buffer.from(String(file), 'utf16le'))).toBe(
      'lambda-file: s3://clicks/utf-16: expected UTF-8 text, plain or gzip, got UTF-16. Convert it first: `iconv -f UTF-16LE -t UTF-8`',
    );
    expect(await charge('clicks.zst', zstdCompressSync(file))).toMatch(/got Zstandard \(\.zst\)/);
    await expectBooks(pool, 10);
  });
});

describe('an event that is not about a new file', () => {
  on(
    'is ignored if it is the test event of S3, and refused if it is of another service',
    async (environment) => {
      const { pool, running } = environment;
      const test = {
        Service: 'Amazon S3',
        Event: 's3:TestEvent',
        Time: '2026-01-31T12:00:00.000Z',
        Bucket: BUCKET,
      };
      expect(await running.invoke(test)).toEqual({ answer: { records: 0 } });
      const removed = s3Event(BUCKET, 'gone');
      for (const event of [
        {},
        null,
        { Records: [{ messageId: '1', body: '{}', eventSource: 'aws:sqs' }] },
        { Records: [{ EventSource: 'aws:sns', Sns: { Message: '{}' } }] },
        { Records: removed.Records.map((record) => ({ ...record, eventName: 'ObjectRemoved:Delete' })) },
      ]) {
        const result = await running.invoke(event);
        expect(result).toMatchObject({
          error: { errorMessage: expect.stringMatching(/^lambda-file: .*expected .*, got /) },
        });
      }
      await expectBooks(pool, 0);
    },
  );
});

describe('near its deadline', () => {
  /** Returns false if the platform ended the function, as it does if the machine stalls for its last 400 ms. */
  const isChargedByTwoAttempts = async (environment: TestEnvironment): Promise<boolean> => {
    const { pool, lines, charge, running } = environment;
    await charge('warm', fileOf(lines(3)));
    const file = fileOf(lines(10_000));
    expect(await charge('late', file, NO_TIME_MS)).toBe(
      'lambda-file: s3://clicks/late: expected to settle every click in time, settled 0 clicks; the file must be delivered again',
    );
    // Each batch is delayed, so that only some finish before the deadline.
    await pool.query(
      `create function dawdle() returns trigger language plpgsql as
       $$ begin perform pg_sleep(0.8); return null; end $$`,
    );
    await pool.query(
      'create trigger dawdle before insert on ledger for each statement execute function dawdle()',
    );
    const said = String(await charge('late', undefined, 4_000));
    if (said.startsWith('Task timed out')) return false;
    expect(said).toMatch(/settled \d+ clicks; the file must be delivered again$/);
    const count = Number(/settled (\d+) clicks/.exec(said)?.[1]);
    expect(count).toBeGreaterThan(0);
    expect(count).toBeLessThan(10_000);
    await expectBooks(pool, count + 3);
    await pool.query('drop trigger dawdle on ledger');
    const pid = running.pid();
    expect(await charge('late')).toEqual({ records: 10_000 });
    expect(running.pid()).toBe(pid);
    await expectBooks(pool, 10_003);
    return true;
  };

  it.skipIf(skipped)(
    'the function reports its progress, and the next attempt finishes without charging a click twice',
    async () => {
      let isCharged = false;
      for (let tries = 0; tries < 3 && !isCharged; tries += 1)
        isCharged = await withEnvironment(isChargedByTwoAttempts);
      expect(isCharged).toBe(true);
    },
    RUN_MS_MAX,
  );

  on(
    'the function charges nothing and makes no dead letters while the database is down, and finishes later',
    async (environment) => {
      const { pool, database, lines, charge } = environment;
      const name = new URL(database.url).pathname.slice(1);
      const server = createClient(inject('databaseServerUrl'), 'test');
      await server.connect();
      await server.query(`alter database ${name} with allow_connections false`);
      try {
        expect(await charge('away', fileOf(lines(5_000)), 2_500)).toMatch(/settled 0 clicks/);
      } finally {
        await server.query(`alter database ${name} with allow_connections true`);
        await server.end();
      }
      await expectBooks(pool, 0);
      expect(await charge('away')).toEqual({ records: 5_000 });
      await expectBooks(pool, 5_000);
    },
  );
});

describe('a large file', () => {
  it.skipIf(skipped)(
    'is streamed: memory does not grow with its size',
    () =>
      withEnvironment(async ({ pool, lines, charge, running }) => {
        const most: number[] = [];
        for (const count of [50_000, 200_000]) {
          const pieces = Array.from({ length: count / 1_000 }, () => fileOf(lines(1_000)));
          expect(await charge(`large ${count}`, pieces, 120_000)).toEqual({ records: count });
          most.push(running.residentBytes().max);
        }
        await expectBooks(pool, 250_000);
        const [small = 0, large = 0] = most;
        expect(large).toBeLessThan(200 * 1_048_576);
        expect(large - small).toBeLessThan(50 * 1_048_576);
      }, 512),
    RUN_MS_MAX,
  );
});
