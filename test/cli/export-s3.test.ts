import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { type S3Request, type S3Server, startS3 } from '../../emulators/s3/server.ts';
import { chargeBatch } from '../support/charge-batch.ts';
import { addAccount, createTestDatabase, type TestDatabase } from '../support/database.ts';
import { clickRecord } from '../support/records.ts';
import { tollway } from '../support/run-script.ts';
import { suiteFolder } from '../support/temporary-folder.ts';
import { until } from '../support/until.ts';
import { readExported } from './exported-files.ts';

/** `export --to s3://…` as a command. */

const BUCKET = 'exports';
/** A file of this many rows has three parts. */
const ROWS = 100_000;
const YESTERDAY = new Date(Date.now() - 86_400_000).toISOString().slice(0, 10);
const TODAY = new Date().toISOString().slice(0, 10);
const FILE = `clicks-${YESTERDAY}.ndjson`;
const MANIFEST = `${FILE}.manifest.json`;

const folder = suiteFolder();
let s3: S3Server;
let database: TestDatabase & { drop: () => Promise<void> };
beforeAll(async () => {
  s3 = await startS3([BUCKET]);
});
afterAll(() => s3.stop());
beforeEach(async () => {
  database = await createTestDatabase();
  const { ad } = await addAccount(database.pool);
  await chargeBatch(database.pool, [clickRecord({ ad })]);
  await database.pool.query('update ledger set settled_at = $1', [new Date(`${YESTERDAY}T12:00:00Z`)]);
});
afterEach(async () => {
  s3.intercept(null);
  for (const key of s3.keys(BUCKET)) s3.remove(BUCKET, key);
  await database.drop();
});

/** Adds settled clicks to the one of the ledger. */
async function addRows(count: number): Promise<void> {
  await database.pool.query(
    `insert into ledger select overlay(click_id::text placing lpad(to_hex(n), 12, '0') from 25)::uuid, null, spool_id, n, clicked_at,
       settled_at, charged_micros, advertiser_id, campaign_id, ad_id, outcome, reason
     from ledger, generate_series(1, $1) n`,
    [count - 1],
  );
}

function runExport(to = `s3://${BUCKET}/tollway`, ...options: string[]) {
  const { KAFKA_BROKERS: _, BROKER: __, ...inherited } = process.env;
  const env = {
    ...inherited,
    ...s3.env,
    AWS_MAX_ATTEMPTS: '1',
    DATABASE_URL: database.url,
    DATA_DIR: folder,
  };
  return tollway(env, 'export', '--to', to, '--since', YESTERDAY, '--until', TODAY, ...options);
}

function readObjects(prefix = 'tollway/') {
  const manifests = s3
    .keys(BUCKET)
    .filter((key) => key.startsWith(`${prefix}clicks-`) && key.endsWith('.manifest.json'));
  return manifests.map((key) =>
    readExported((name) => s3.content(BUCKET, prefix + name), key.slice(prefix.length)),
  );
}

/** Closes the connections of the requests that match. */
function breakRequests(isBroken: (request: S3Request, index: number) => boolean): void {
  let count = 0;
  s3.intercept((request) => {
    count += 1;
    if (isBroken(request, count)) throw new Error('Closed by the test');
  });
}

describe('export to a bucket', () => {
  it('writes files with manifests below the prefix, and continues after the last one', async () => {
    expect(await runExport()).toMatchObject({
      code: 0,
      stdout: `${FILE}: 1 row, 0.25 USD\n`,
      stderr: expect.stringMatching(/^until: .*T00:00:00.000Z\n$/),
    });
    expect(s3.keys(BUCKET)).toEqual([`tollway/${FILE}`, `tollway/${MANIFEST}`]);
    expect(readObjects()).toMatchObject([{ manifest: { rows: 1 } }]);
    expect(await runExport(`s3://${BUCKET}/tollway/`)).toMatchObject({ code: 0, stdout: '' });
    // A prefix that contains the other one is another target.
    expect(await runExport(`s3://${BUCKET}`, '--format', 'csv')).toMatchObject({ code: 0 });
    expect(readObjects('')[0]?.rows).toHaveLength(1);
  });

  it('writes a large file in several parts', async () => {
    await addRows(ROWS);
    expect(await runExport()).toMatchObject({ code: 0 });
    const [file] = readObjects();
    expect(file?.rows).toHaveLength(ROWS);
    expect(file?.manifest.bytes).toBeGreaterThan(2 * 16 * 1_048_576);
    expect(s3.uploadCount()).toBe(0);
  });

  it.each<[string, number, (request: S3Request, index: number) => boolean, string[]]>([
    ['the list of the manifests', 1, ({ method }) => method === 'GET', []],
    ['the second part of the file', ROWS, ({ method }, index) => method === 'PUT' && index > 3, []],
    ['the last request of the file', ROWS, ({ method }, index) => method === 'POST' && index > 2, []],
    ['the manifest', 1, ({ key }) => key.endsWith('.json'), [FILE]],
  ])(
    'that fails at %s leaves no manifest, and the next run writes the file',
    async (_, rows, isBroken, left) => {
      await addRows(rows);
      breakRequests(isBroken);
      const failed = await runExport();
      expect(failed).toMatchObject({
        code: 1,
        stdout: '',
        stderr: expect.stringContaining('Run the export again'),
      });
      expect(s3.keys(BUCKET)).toEqual(left.map((name) => `tollway/${name}`));
      expect(s3.uploadCount()).toBe(0);
      s3.intercept(null);
      expect(await runExport()).toMatchObject({ code: 0 });
      expect(readObjects()[0]?.rows).toHaveLength(rows);
    },
  );

  it('is refused while another one to the same prefix runs', async () => {
    let release = () => {};
    const held = new Promise<void>((resolve) => {
      release = resolve;
    });
    s3.intercept(() => held);
    const before = s3.requests().length;
    const first = runExport();
    await until('the first export to send a request', () => s3.requests().length > before);
    const second = await runExport();
    expect(second).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('got another one that is running'),
    });
    release();
    expect(await first).toMatchObject({ code: 0 });
  });

  it('is refused without a bucket', async () => {
    expect(await runExport('s3:exports')).toMatchObject({
      code: 1,
      stderr: 'Expected s3://bucket[/prefix] or a folder, got s3:exports\n',
    });
  });
});
