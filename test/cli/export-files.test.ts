import { existsSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { exportFiles, type FileExport } from '../../cli/export/export-files.ts';
import { FORMATS } from '../../cli/export/export-format.ts';
import { openFolderTarget } from '../../cli/export/folder-target.ts';
import { PERIOD_LENGTHS } from '../../cli/export/periods.ts';
import { DAY_MS } from '../../common/unix-time.ts';
import { uuidV7 } from '../../common/uuid.ts';
import { creditClick } from '../../ledger/accounts/budget-entries.ts';
import { BEGIN_CHARGE } from '../../ledger/charge-locks.ts';
import { exportLedger } from '../../ledger/clicks/export.ts';
import { dropClosedDays } from '../../ledger/maintenance.ts';
import { dayStart } from '../../ledger/partitions.ts';
import { chargeBatch } from '../support/charge-batch.ts';
import { type Account, addAccount, createTestDatabase, type TestDatabase } from '../support/database.ts';
import { silent } from '../support/loggers.ts';
import { clickRecord, unreadableRecord } from '../support/records.ts';
import { areMountsSkipped, fill, smallDisk } from '../support/small-disk.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';
import { readExport } from './exported-files.ts';

/** `export --to` a folder: what the files hold, and where a run continues. */

let database: TestDatabase & { drop: () => Promise<void> };
let account: Account;
let folder: string;
beforeEach(async () => {
  database = await createTestDatabase();
  account = await addAccount(database.pool, { budget: '1000.00' });
  folder = join(temporaryFolder(), 'files');
});
afterEach(() => database.drop());

/** The beginning of today in UTC. Three days of settlement times are filled: the day before yesterday, yesterday and today. */
const today = dayStart(Date.now());
const DAYS: FileExport = {
  length: PERIOD_LENGTHS.day,
  format: 'ndjson',
  filter: {},
  since: new Date(today - 2 * DAY_MS),
};

async function run(options: Partial<FileExport> = {}, to = folder): Promise<string[]> {
  const target = await openFolderTarget(to);
  const written: string[] = [];
  try {
    await exportFiles(database.pool, target, { ...DAYS, ...options }, ({ file }) => void written.push(file));
  } finally {
    await target.close();
  }
  return written;
}

/** Charges a click as if it had been settled at a time, in Unix ms. */
async function chargeAt(time: number, overrides: Parameters<typeof clickRecord>[0] = {}): Promise<string> {
  const click = clickRecord({ ad: account.ad, clickedAt: time - 60_000, ...overrides });
  await chargeBatch(database.pool, [click]);
  await database.pool.query('update ledger set settled_at = $2 where click_id = $1', [
    click.click.clickId,
    new Date(time),
  ]);
  return click.click.clickId;
}

function nameOf(time: number, suffix = 'ndjson'): string {
  return `clicks-${new Date(time).toISOString().slice(0, 10)}.${suffix}`;
}

describe('the files', () => {
  it.each(FORMATS)('of %s hold the rows that the ledger has, with every kind of row', async (format) => {
    const { ad } = account;
    const poor = await addAccount(database.pool, { budget: '0.25' });
    await database.pool.query("update advertiser set currency = 'EUR' where id = $1", [poor.advertiser.id]);
    const at = today - DAY_MS + 3_600_000;
    const clickedAt = at - 1_000;
    const credited = clickRecord({ ad, nonce: uuidV7(clickedAt), clickedAt });
    await chargeBatch(database.pool, [
      credited,
      clickRecord({ ad: poor.ad, clickedAt }),
      clickRecord({ ad: poor.ad, clickedAt }),
      clickRecord({ ad, invalid: 'bot', publisher: 'news-1', clickedAt }),
      clickRecord({ ad: { ...ad, id: 2_000_000_000 } }),
      unreadableRecord(Buffer.from('?'), { spoolId: uuidV7(), sequence: 7 }),
    ]);
    await creditClick(database.pool, credited.click.clickId);
    await database.pool.query('update ledger set settled_at = $1', [new Date(at)]);
    await database.pool.query('update dead_letter set settled_at = $1', [new Date(at + 1)]);
    await database.pool.query('update budget_entry set created_at = $1 where click_id is not null', [
      new Date(at + 2),
    ]);
    expect(await run({ format })).toEqual([
      nameOf(today - 2 * DAY_MS, format),
      nameOf(today - DAY_MS, format),
    ]);
    const [empty, full] = readExport(folder);
    expect(empty).toMatchObject({
      rows: [],
      manifest: { rows: 0, clicks: 0, rowsByOutcome: {}, amounts: [] },
    });
    expect(full?.manifest).toMatchObject({
      formatVersion: 1,
      by: 'day',
      format,
      clicks: 6,
      rowsByOutcome: { charged: 2, credit: 1, invalid: 1, over_budget: 1, rejected: 2 },
      amounts: [
        { currency: 'EUR', charged: '0.25', credited: '0.00', net: '0.25' },
        { currency: 'USD', charged: '0.25', credited: '0.25', net: '0.00' },
      ],
    });
    const expected: unknown[] = [];
    await exportLedger(database.pool, { since: new Date(0) }, async (rows) => {
      for (const { chargedMicros, clickedAt: clicked, settledAt, ...row } of rows) {
        const fields = {
          ...row,
          clickedAt: clicked?.toISOString() ?? null,
          settledAt: settledAt.toISOString(),
        };
        const texts = Object.entries(fields).map(([name, value]) => [
          name,
          value === null ? null : String(value),
        ]);
        expected.push({ ...Object.fromEntries(texts), micros: chargedMicros });
      }
    });
    expect(
      full?.rows.map(({ charged, ...row }) => ({
        ...row,
        micros: BigInt(Math.round(Number(charged) * 1e6)),
      })),
    ).toEqual(expected);
  });

  it('are of hours too, each with the rows of its hour', async () => {
    const hour = 3_600_000;
    const clicks = [
      await chargeAt(today - 2 * hour),
      await chargeAt(today - hour - 1),
      await chargeAt(today - hour),
    ];
    await run({ length: PERIOD_LENGTHS.hour, since: new Date(today - 2 * hour), until: new Date(today) });
    const day = new Date(today - 1).toISOString().slice(0, 10);
    expect(
      readExport(folder).map(({ manifest, rows }) => [manifest.file, rows.map((row) => row.clickId)]),
    ).toEqual([
      [`clicks-${day}T22.ndjson`, clicks.slice(0, 2).toSorted()],
      [`clicks-${day}T23.ndjson`, clicks.slice(2)],
    ]);
  });

  it('are complete over several row groups and pages of Parquet', async () => {
    await chargeAt(today - DAY_MS + 1);
    await database.pool.query(
      `insert into ledger select uuidv7_of.id, null, spool_id, n, clicked_at, settled_at, charged_micros, advertiser_id, campaign_id, ad_id,
         outcome, reason
       from ledger, generate_series(1, 120000) n,
         lateral (select overlay(click_id::text placing lpad(to_hex(n), 12, '0') from 25)::uuid as id) uuidv7_of`,
    );
    await run({ format: 'parquet', until: new Date(today) });
    const [, file] = readExport(folder);
    expect(file?.rows).toHaveLength(120_001);
    expect(new Set(file?.rows.map(({ clickId }) => clickId)).size).toBe(120_001);
  });

  it('are those of the advertiser in the filter', async () => {
    const other = await addAccount(database.pool);
    await chargeAt(today - DAY_MS, { ad: other.ad });
    const mine = await chargeAt(today - DAY_MS);
    await run({ filter: { advertiserId: account.advertiser.id } });
    expect(readExport(folder).flatMap(({ rows }) => rows.map(({ clickId }) => clickId))).toEqual([mine]);
    await expect(run({ filter: { advertiserId: 999 } })).rejects.toMatchObject({
      code: 'unknown_advertiser',
    });
  });
});

describe('a run', () => {
  it('continues after the last manifest, whatever --since says, and writes no period again', async () => {
    const first = await chargeAt(today - 2 * DAY_MS);
    expect(await run({ until: new Date(today - DAY_MS) })).toEqual([nameOf(today - 2 * DAY_MS)]);
    const before = readdirSync(folder).map((name) => statSync(join(folder, name)).mtimeMs);
    const second = await chargeAt(today - DAY_MS);
    // Settled in the first period after it was written, which cannot happen: a period is written again by no run.
    await chargeAt(today - 2 * DAY_MS + 1);
    expect(await run({ since: new Date(today - 5 * DAY_MS) })).toEqual([nameOf(today - DAY_MS)]);
    expect(await run()).toEqual([]);
    const files = readExport(folder);
    expect(files.map(({ rows }) => rows.map(({ clickId }) => clickId))).toEqual([[first], [second]]);
    const after = readdirSync(folder).map((name) => statSync(join(folder, name)).mtimeMs);
    expect(after).toEqual(expect.arrayContaining(before));
  });

  it('leaves out the period of --until, and a period that a transaction can still settle clicks in', async () => {
    const length = { by: 'test', ms: 1_000, nameCharacters: 19 };
    const since = new Date();
    const connection = await database.pool.connect();
    await connection.query(BEGIN_CHARGE);
    await connection.query('select pg_sleep(2.1)');
    const lockedAt = Math.floor(Date.now() / 1_000) * 1_000 - 1_000;
    await run({ length, since });
    expect(readExport(folder).filter(({ manifest }) => Date.parse(manifest.until) > lockedAt)).toEqual([]);
    await connection.query('commit');
    connection.release();
    await run({ length, since, until: new Date(lockedAt) });
    expect(readExport(folder).at(-1)?.manifest.until).toBe(new Date(lockedAt).toISOString());
  });

  it('replaces the file of a run that died before its manifest', async () => {
    const click = await chargeAt(today - DAY_MS);
    await run({ until: new Date(today - DAY_MS) });
    writeFileSync(join(folder, nameOf(today - DAY_MS)), 'half a li');
    writeFileSync(join(folder, `${nameOf(today - DAY_MS)}.partial`), 'half a li');
    await run();
    expect(readExport(folder).at(-1)?.rows).toMatchObject([{ clickId: click }]);
    expect(readdirSync(folder).filter((name) => name.endsWith('.partial'))).toEqual([]);
  });

  it('is refused while another one runs on the same folder', async () => {
    const target = await openFolderTarget(folder);
    await expect(run()).rejects.toMatchObject({ code: 'already_running' });
    await target.close();
    expect(await run()).toHaveLength(2);
  });

  it('needs --since for an empty folder', async () => {
    const { since: _, ...withoutSince } = DAYS;
    const target = await openFolderTarget(folder);
    await expect(exportFiles(database.pool, target, withoutSince, () => {})).rejects.toMatchObject({
      code: 'bad_options',
    });
    await target.close();
  });

  it.each<[string, Partial<FileExport>]>([
    ['another format', { format: 'csv' }],
    ['other periods', { length: PERIOD_LENGTHS.hour }],
    ['an advertiser', { filter: { advertiserId: 1 } }],
    ['a campaign', { filter: { campaignId: 1 } }],
    ['a publisher', { filter: { publisher: 'news-1' } }],
    ['a publisher', { filter: { publisher: 'example-news' } }],
  ])('is refused with %s than the files of the folder have', async (_, options) => {
    await run();
    await expect(run(options)).rejects.toMatchObject({ code: 'bad_target' });
    expect(readExport(folder)).toHaveLength(2);
  });

  it('is refused for a file in place of a folder, and for a damaged manifest', async () => {
    const path = join(temporaryFolder(), 'file');
    writeFileSync(path, '');
    const refusal = (got: string) => ({ code: 'bad_target', message: expect.stringContaining(`got ${got}`) });
    await expect(run({}, path)).rejects.toMatchObject(refusal(`the file ${path}`));
    const below = join(path, 'below');
    await expect(run({}, below)).rejects.toMatchObject(refusal(`a path below a file: ${below}`));
    // Linux: a folder that takes no folders.
    const noFolder = '/proc/tollway';
    await expect(run({}, noFolder)).rejects.toMatchObject(
      refusal(`a path that cannot be created: ${noFolder}`),
    );
    await run();
    writeFileSync(join(folder, `${nameOf(today - DAY_MS)}.manifest.json`), '{"formatVersion":2}');
    await expect(run()).rejects.toMatchObject({ code: 'bad_target' });
  });
});

describe('a period whose clicks are dropped', () => {
  it('is refused with the first complete period, also in the middle of a series', async () => {
    const length = PERIOD_LENGTHS.hour;
    await chargeAt(today - DAY_MS - 1);
    await chargeAt(today - DAY_MS + 3_600_000, { clickedAt: today - DAY_MS - 1 });
    const dayBefore = new Date(today - 2 * DAY_MS);
    await run({ length, since: dayBefore, until: new Date(today - DAY_MS - 3_600_000) });
    // Closes the day before yesterday: its last click was settled at one o'clock yesterday.
    await database.pool.query('update ledger_window set click_floor = $1', [new Date(today - DAY_MS)]);
    await dropClosedDays(database.pool, silent, 0);
    const complete = new Date(today - DAY_MS + 2 * 3_600_000).toISOString();
    await expect(run({ length })).rejects.toMatchObject({
      code: 'day_closed',
      message: expect.stringContaining(`--since ${complete}`),
    });
    const other = join(temporaryFolder(), 'other');
    await expect(run({ length, since: new Date(today - DAY_MS) }, other)).rejects.toMatchObject({
      code: 'day_closed',
    });
    expect(readdirSync(other)).toEqual(['.export.lock']);
    const until = new Date(today - DAY_MS + 3 * 3_600_000);
    expect(await run({ length, since: new Date(complete), until }, other)).toHaveLength(1);
  });

  it('leaves no file if they are dropped after the export began, before their rows are read', async () => {
    await chargeAt(today - DAY_MS - 1);
    const target = await openFolderTarget(folder);
    const create = async (name: string) => {
      await database.pool.query('update ledger_window set click_floor = $1', [new Date(today - DAY_MS)]);
      await dropClosedDays(database.pool, silent, 0);
      return target.create(name);
    };
    try {
      await expect(exportFiles(database.pool, { ...target, create }, DAYS, () => {})).rejects.toMatchObject({
        code: 'day_closed',
      });
    } finally {
      await target.close();
    }
    expect(readdirSync(folder)).toEqual(['.export.lock']);
  });
});

describe.skipIf(areMountsSkipped)(
  'on a disk that is full (a mount of a few pages: as root, on Linux)',
  () => {
    it('a run leaves no file that looks finished, and the next one continues', async () => {
      const disk = smallDisk('2m');
      const ballast = fill(disk);
      writeFileSync(ballast, Buffer.alloc(1_900_000));
      await chargeAt(today - DAY_MS + 1);
      await database.pool.query(
        `insert into ledger select overlay(click_id::text placing lpad(to_hex(n), 12, '0') from 25)::uuid, null, spool_id, n, clicked_at,
         settled_at, charged_micros, advertiser_id, campaign_id, ad_id, outcome, reason
       from ledger, generate_series(1, 2999) n`,
      );
      await expect(run({ until: new Date(today) }, disk)).rejects.toMatchObject({
        code: 'target_failed',
        message: expect.stringContaining('ENOSPC'),
      });
      expect(readExport(disk).map(({ manifest }) => manifest.file)).toEqual([nameOf(today - 2 * DAY_MS)]);
      expect(existsSync(join(disk, nameOf(today - DAY_MS)))).toBe(false);
      writeFileSync(ballast, '');
      expect(await run({ until: new Date(today) }, disk)).toEqual([nameOf(today - DAY_MS)]);
      expect(readExport(disk).at(-1)?.rows).toHaveLength(3_000);
      expect(readFileSync(ballast)).toHaveLength(0);
    });
  },
);
