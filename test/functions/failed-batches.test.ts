import { once } from 'node:events';
import { existsSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { ReadClick } from '../../contract/click-event.ts';
import { type S3Server, startS3 } from '../../emulators/s3/server.ts';
import { chargeBatch, expectBalanced } from '../support/charge-batch.ts';
import { addAccount, createTestDatabase, type TestDatabase } from '../support/database.ts';
import { type NamedAd, TestSpool } from '../support/records.ts';
import { runScript, tollway } from '../support/run-script.ts';
import { makeFolder, removeFolder } from '../support/temporary-folder.ts';
import { clickLines, s3Event } from './click-lines.ts';
import { kafkaEvent, kinesisEvent } from './runtimes.ts';

const FAILURES = 'failures';
const FILES = 'files';
const PREFIX = `s3://${FAILURES}`;
/** The folders in which Lambda stores failed batches of a mapping, and failed asynchronous invocations. */
const MAPPING = 'aws/lambda/2b0c2d4c-2c1c-4b0c-8e7a-5a3a1f9f7f11/shardId-000000000001/2026/01/31/';
const ASYNC = 'aws/lambda/async/lambda-file/2026/01/31/';

const WHY = {
  requestContext: {
    requestId: 'c9b8fa9f-5a7f-4c1c-af9c-0c604cde93a5',
    functionArn: 'arn:aws:lambda:us-east-2:123456789012:function:tollway',
    condition: 'RetryAttemptsExhausted',
    approximateInvokeCount: 1,
  },
  responseContext: { statusCode: 200, executedVersion: '$LATEST', functionError: 'Unhandled' },
  version: '1.0',
  timestamp: '2026-01-31T12:00:06.021Z',
};

/** https://docs.aws.amazon.com/lambda/latest/dg/kinesis-on-failure-destination.html */
const kinesisRecord = (clicks: readonly ReadClick[]) => ({
  ...WHY,
  KinesisBatchInfo: {
    shardId: 'shardId-000000000001',
    startSequenceNumber: '49601189658422359378836298521827638475320189012309704722',
    endSequenceNumber: '49601189658422359378836298522902373528957594348623495186',
    approximateArrivalOfFirstRecord: '2026-01-31T12:00:04.835Z',
    approximateArrivalOfLastRecord: '2026-01-31T12:00:05.580Z',
    batchSize: clicks.length,
    streamArn: 'arn:aws:kinesis:us-east-2:123456789012:stream/tollway-clicks',
  },
  payload: JSON.stringify(kinesisEvent(clicks)),
});

/** https://docs.aws.amazon.com/lambda/latest/dg/kafka-on-failure.html */
const kafkaRecord = (clicks: readonly ReadClick[]) => ({
  ...WHY,
  KafkaBatchInfo: {
    batchSize: clicks.length,
    eventSourceArn: 'arn:aws:kafka:us-east-1:123456789012:cluster/clicks/abc-1',
    bootstrapServers: '…',
    payloadSize: 2_039_086,
    recordsInfo: {
      'tollway-clicks-0': {
        firstRecordOffset: '1000',
        lastRecordOffset: '1010',
        firstRecordTimestamp: '2026-01-31T11:00:04.835Z',
        lastRecordTimestamp: '2026-01-31T12:00:05.580Z',
      },
      'tollway-clicks-1': {
        firstRecordOffset: '1000',
        lastRecordOffset: '1010',
        firstRecordTimestamp: '2026-01-31T10:00:04.835Z',
        lastRecordTimestamp: '2026-01-31T12:00:05.580Z',
      },
    },
  },
  payload: JSON.stringify(kafkaEvent(clicks)),
});

/** https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-retain-records.html */
const fileRecord = (key: string) => ({
  ...WHY,
  requestContext: { ...WHY.requestContext, condition: 'RetriesExhausted', approximateInvokeCount: 3 },
  requestPayload: s3Event(FILES, key),
  responsePayload: { errorType: 'TollwayError', errorMessage: 'lambda-file: …' },
});

type Answer = {
  objects: { object: string; records: number; removed: boolean; problem: string | null }[];
  outcomes: Record<string, number>;
};

let s3: S3Server;
let folder: string;
let database: TestDatabase & { drop: () => Promise<void> };
let ads: NamedAd[];
let spool: TestSpool;
beforeAll(async () => {
  folder = makeFolder();
});
afterAll(() => removeFolder(folder));
beforeEach(async () => {
  // Three keys per page, so that there are several pages.
  s3 = await startS3([FAILURES, FILES], { keysMax: 3 });
  database = await createTestDatabase();
  spool = new TestSpool();
  ads = [];
  for (let count = 0; count < 3; count += 1)
    ads.push((await addAccount(database.pool, { budget: '10000.00' })).ad);
  return async () => {
    await s3.stop();
    await database.drop();
  };
});

const clicks = (count: number) =>
  Array.from({ length: count }, (_, index) => spool.click({ ad: ads[index % ads.length] as NamedAd }));
const put = (key: string, record: object | string) =>
  s3.put(FAILURES, key, typeof record === 'string' ? record : JSON.stringify(record));
const environment = (): NodeJS.ProcessEnv => ({
  ...process.env,
  ...s3.env,
  DATABASE_URL: database.url,
  DATA_DIR: join(folder, 'none'),
});

async function redrive(place: string, ...options: string[]): Promise<Answer & { code: number | null }> {
  const { code, stdout, stderr } = await tollway(
    environment(),
    'failed-batches',
    'redrive',
    place,
    ...options,
    '--json',
  );
  if (stdout === '') throw new Error(stderr);
  return { code, ...JSON.parse(stdout) };
}

describe('tollway failed-batches redrive', () => {
  it('settles and removes failed batches of Kinesis and Kafka, without charging any click twice', async () => {
    const known = clicks(10);
    await chargeBatch(database.pool, known);
    for (let index = 0; index < 4; index += 1)
      put(`${MAPPING}2026-01-31T12.00.0${index}-x`, kinesisRecord(clicks(50)));
    put(`${MAPPING}kafka`, kafkaRecord([...clicks(20), ...known]));
    // In the form of an on-failure Kafka topic.
    put(`${MAPPING}object`, { ...kafkaRecord([]), payload: kafkaEvent(clicks(5)) });
    const { code, objects, outcomes } = await redrive(PREFIX);
    expect(code).toBe(0);
    expect(objects).toHaveLength(6);
    expect(objects[0]).toEqual({
      object: `${PREFIX}/${MAPPING}2026-01-31T12.00.00-x`,
      records: 50,
      removed: true,
      problem: null,
    });
    expect(outcomes).toEqual({ charged: 225, duplicate: 10 });
    expect(s3.keys(FAILURES)).toEqual([]);
    expect(await expectBalanced(database.pool)).toMatchObject({ charged: 235 });
  });

  it('reads only objects with the prefix, and removes none with --keep', async () => {
    put(`${MAPPING}one`, kinesisRecord(clicks(5)));
    put('other', kinesisRecord(clicks(7)));
    const before = s3.keys(FAILURES);
    expect(await redrive(`${PREFIX}/aws/lambda/`, '--keep')).toMatchObject({
      code: 0,
      objects: [{ records: 5, removed: false, problem: null }],
      outcomes: { charged: 5 },
    });
    expect(s3.keys(FAILURES)).toEqual(before);
    expect(await redrive(PREFIX)).toMatchObject({ code: 0, outcomes: { charged: 7, duplicate: 5 } });
    expect(s3.keys(FAILURES)).toEqual([]);
    expect(await expectBalanced(database.pool)).toMatchObject({ charged: 12 });
  });

  it('keeps and reports unreadable objects, and continues with the next ones', async () => {
    const bad: [string, object | string, RegExp][] = [
      ['cut', JSON.stringify(kinesisRecord(clicks(0))).slice(0, 300), /expected JSON, got 300 characters/],
      ['empty', '', /expected JSON, got 0 characters/],
      ['list', '[]', /requestContext: expected Lambda's record of a failed invocation, got 0 elements/],
      ['other', { hello: 1 }, /requestContext: expected Lambda's record .*, got an object with hello/],
      ['payload', { ...WHY, payload: 'no json' }, /payload: expected JSON, got 7 characters/],
      [
        'queue',
        { ...WHY, payload: '{"Records":[{"eventSource":"aws:sqs"}]}' },
        /expected "aws:kinesis", got "aws:sqs"/,
      ],
      ['table', { ...WHY, DDBStreamBatchInfo: { batchSize: 1 } }, /payload: expected the event of a stream/],
      [
        'task',
        { ...WHY, requestPayload: { 'detail-type': 'Scheduled Event' } },
        /expected the event notification of an S3/,
      ],
    ];
    for (const [key, record] of bad) put(key, record);
    put('good', kinesisRecord(clicks(5)));
    const { code, objects, outcomes } = await redrive(PREFIX);
    expect(code).toBe(1);
    expect(outcomes).toEqual({ charged: 5 });
    for (const [key, , problem] of bad) {
      const [row] = objects.filter(({ object }) => object === `${PREFIX}/${key}`);
      expect(row).toMatchObject({ records: 0, removed: false, problem: expect.stringMatching(problem) });
      expect(row?.problem).toMatch(new RegExp(`^${PREFIX}/${key}: `));
    }
    expect(s3.keys(FAILURES)).toEqual(bad.map(([key]) => key).sort());
  });

  it('reports the position of records of which the object has only metadata', async () => {
    const { payload: _, ...word } = kinesisRecord(clicks(0));
    put('kinesis', { ...word, KinesisBatchInfo: { ...word.KinesisBatchInfo, batchSize: 500 } });
    put('kafka', { ...kafkaRecord([]), payload: undefined });
    const { code, objects } = await redrive(PREFIX);
    expect(code).toBe(1);
    expect(objects.map(({ problem }) => problem)).toEqual([
      `${PREFIX}/kafka: expected the records of a batch, got metadata of 0 records only; replay them while the stream keeps them: npx tollway rewind --since 2026-01-31T10:00:04.835Z`,
      `${PREFIX}/kinesis: expected the records of a batch, got metadata of 500 records only; replay them while the stream keeps them: npx tollway rewind --since 2026-01-31T12:00:04.835Z`,
    ]);
    expect(s3.keys(FAILURES)).toEqual(['kafka', 'kinesis']);
  });

  it('charges files of lambda-file again, and keeps the object of a truncated file', async () => {
    const file = Buffer.from(clickLines(ads, 5_000).join('\n'));
    s3.put(FILES, 'März 1+1.gz', gzipSync(file));
    s3.put(FILES, 'cut.gz', gzipSync(file).subarray(0, 1_000));
    put(`${ASYNC}1`, fileRecord('März 1+1.gz'));
    put(`${ASYNC}2`, fileRecord('cut.gz'));
    put(`${ASYNC}3`, fileRecord('gone'));
    const { code, objects, outcomes } = await redrive(PREFIX);
    expect(code).toBe(1);
    expect(outcomes).toEqual({ charged: 5_000 });
    const names = [1, 2, 3].map((number) => `${PREFIX}/${ASYNC}${number}`);
    expect(objects).toEqual([
      { object: names[0], records: 5_000, removed: true, problem: null },
      {
        object: names[1],
        records: 0,
        removed: false,
        problem: `${names[1]}: s3://files/cut.gz: expected a complete gzip file, got one that is truncated or damaged; none of its lines were processed`,
      },
      {
        object: names[2],
        records: 0,
        removed: false,
        problem: `${names[2]}: expected the object s3://files/gone, got none`,
      },
    ]);
    expect(s3.keys(FAILURES)).toEqual([`${ASYNC}2`, `${ASYNC}3`]);
    expect(await expectBalanced(database.pool)).toMatchObject({ unattributed: 5_000 });
  });

  it('turns poison records and garbage into dead letters, and removes their objects', async () => {
    const batch = clicks(20);
    const [poison] = batch;
    await database.pool.query(
      `create function refuse() returns trigger language plpgsql as
       $$ begin if new.click_id = '${poison?.click.clickId}' then raise exception 'refused'; end if; return new; end $$`,
    );
    await database.pool.query(
      'create trigger refuse before insert on ledger for each row execute function refuse()',
    );
    const garbage = { key: 'foreign', value: Buffer.from('no click') };
    put('poison', { ...WHY, payload: JSON.stringify(kinesisEvent([...batch, garbage])) });
    expect(await redrive(PREFIX)).toMatchObject({
      code: 0,
      outcomes: { charged: 19, rejected: 1, foreign: 1 },
    });
    expect(s3.keys(FAILURES)).toEqual([]);
    const { rows } = await database.pool.query('select reason, raw from dead_letter order by reason');
    expect(rows).toEqual([
      { reason: 'malformed', raw: garbage.value },
      { reason: 'poison', raw: poison?.value },
    ]);
    expect(await expectBalanced(database.pool)).toMatchObject({ charged: 19, rejected: 1 });
  });

  it('reads a downloaded file, or a folder with its subfolders', async () => {
    const downloaded = join(folder, 'downloaded');
    mkdirSync(join(downloaded, MAPPING), { recursive: true });
    writeFileSync(join(downloaded, MAPPING, 'one'), JSON.stringify(kinesisRecord(clicks(5))));
    writeFileSync(join(downloaded, 'two'), JSON.stringify(kafkaRecord(clicks(6))));
    writeFileSync(join(downloaded, 'notes.txt'), 'no record');
    expect(await redrive(join(downloaded, 'two'))).toMatchObject({ code: 0, outcomes: { charged: 6 } });
    expect(existsSync(join(downloaded, 'two'))).toBe(false);
    expect(await redrive(downloaded)).toMatchObject({ code: 1, outcomes: { charged: 5 } });
    expect(readdirSync(downloaded)).toContain('notes.txt');
    expect(existsSync(join(downloaded, MAPPING, 'one'))).toBe(false);
    await expectBalanced(database.pool);
  });

  it('prints what was settled, what was kept, and why', async () => {
    put('bad', 'no json');
    put('good', kinesisRecord(clicks(5)));
    const redriven = () => tollway(environment(), 'failed-batches', 'redrive', PREFIX);
    const { code, stdout } = await redriven();
    expect(code).toBe(1);
    expect(stdout.trim().split('\n')).toEqual([
      `Kept: ${PREFIX}/bad: the object: expected JSON, got 7 characters that are not`,
      `${PREFIX}/good: 5 records settled`,
      '2 objects, 5 charged, 1 with problems',
    ]);
    s3.remove(FAILURES, 'bad');
    expect(await redriven()).toMatchObject({ code: 0, stdout: 'There are no failed batches.\n' });
  });

  it('removes nothing if the database is down or the location does not exist', async () => {
    put('good', kinesisRecord(clicks(5)));
    const away = { ...environment(), DATABASE_URL: 'postgres://postgres@127.0.0.1:1/none' };
    const result = await tollway(away, 'failed-batches', 'redrive', PREFIX);
    expect(result).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/^The database does not answer: /),
    });
    for (const place of [join(folder, 'nothing here'), 's3:', 's3://no-such-bucket']) {
      const { code, stderr } = await tollway(environment(), 'failed-batches', 'redrive', place);
      expect(code).toBe(1);
      expect(stderr).toMatch(/^Expected s3:\/\/bucket\[\/prefix\], a file or a folder, got |bucket/);
    }
    expect(s3.keys(FAILURES)).toEqual(['good']);
  });

  it('charges no click twice if two processes run at once', async () => {
    for (let index = 0; index < 8; index += 1) put(`batch ${index}`, kinesisRecord(clicks(100)));
    const both = await Promise.all([redrive(PREFIX), redrive(PREFIX)]);
    expect(both.map(({ code }) => code)).toEqual([0, 0]);
    expect(s3.keys(FAILURES)).toEqual([]);
    expect(await expectBalanced(database.pool)).toMatchObject({ charged: 800 });
  });

  it('loses no click and charges none twice if it is killed at any request', async () => {
    const count = 6;
    for (let index = 0; index < count; index += 1) put(`batch ${index}`, kinesisRecord(clicks(300)));
    s3.put(FILES, 'file', Buffer.from(clickLines(ads, 5_000).join('\n')));
    put('file', fileRecord('file'));
    const total = count * 300;
    // Each run is killed at a different request (list, get, delete, …).
    for (let at = 1; s3.keys(FAILURES).length > 0; at += 1) {
      expect(at).toBeLessThan(100);
      const child = runScript('cli/main.js', environment(), 'failed-batches', 'redrive', PREFIX);
      let requests = 0;
      s3.intercept(async () => {
        requests += 1;
        if (requests !== at) return;
        // The test depends on time: one of two runs is killed before the answer, the other while it handles the answer.
        if (at % 2 === 0) child.kill('SIGKILL');
        else setTimeout(() => child.kill('SIGKILL'), 15);
      });
      await once(child, 'close');
      s3.intercept(null);
      const { rows } = await database.pool.query<{ count: number }>(
        'select count(*)::int as count from ledger where spool_id is not null',
      );
      const left = s3.keys(FAILURES).filter((key) => key.startsWith('batch')).length;
      expect(rows[0]?.count).toBeGreaterThanOrEqual((count - left) * 300);
      expect(rows[0]?.count).toBeLessThanOrEqual(total);
    }
    expect(await expectBalanced(database.pool)).toMatchObject({ charged: total, unattributed: 5_000 });
  }, 120_000);
});
