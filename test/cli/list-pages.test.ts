import pg from 'pg';
import { beforeAll, describe, expect, it, onTestFinished, vi } from 'vitest';
import { beyondId, printPages } from '../../cli/print-pages.ts';
import { addAdvertiser } from '../../ledger/accounts/advertisers.ts';
import { addAccount, testDatabase } from '../support/database.ts';
import { tollwayHere } from '../support/run-here.ts';
import { suiteFolder } from '../support/temporary-folder.ts';

/** More than two reads of a list. */
const ROWS = 2_300;
const READ_ROWS_MAX = 1_001;

const database = testDatabase();
const folder = suiteFolder();
const run = (...args: string[]) =>
  tollwayHere({ PATH: process.env.PATH, DATABASE_URL: database.url, DATA_DIR: folder }, ...args);

let advertiser = '';
let webhook = '';

beforeAll(async () => {
  const { campaign, ad } = await addAccount(database.pool, { budget: '1.00' });
  advertiser = String(campaign.advertiserId);
  await addAdvertiser(database.pool, 'Another', 'USD');
  const insert = async (sql: string, ...values: unknown[]) =>
    (await database.pool.query<{ id: number }>(sql.replace('$rows', String(ROWS)), values)).rows;
  await insert(
    `insert into budget_entry (advertiser_id, kind, amount_micros, reference)
     select $1, 'top_up', 1, 'entry ' || n from generate_series(1, $rows) n`,
    advertiser,
  );
  await insert(
    `insert into campaign (advertiser_id, name) select $1, 'Campaign ' || n from generate_series(1, $rows) n`,
    advertiser,
  );
  await insert(
    `insert into ad (campaign_id, advertiser_id, url_template, price_micros)
     select $1, $2, 'https://example.com/', 1 from generate_series(1, $rows) n`,
    campaign.id,
    ad.advertiserId,
  );
  await insert(
    `insert into advertiser (name, currency) select 'Advertiser ' || n, 'USD' from generate_series(1, $rows) n`,
  );
  await insert(
    `insert into dead_letter (identity, reason, detail, raw, counted)
     select 'position ' || n, 'malformed', 'no JSON', 'x', true from generate_series(1, $rows) n`,
  );
  await insert(
    `insert into spool_correction (spool_id, accepted_before, accepted_after, reason)
     select '01a208fb-f934-70de-beaa-9335acbb4502', n, n + 1, 'test' from generate_series(1, $rows) n`,
  );
  await insert(
    `insert into api_key (name, role, secret_hash) select 'key ' || n, 'viewer', sha256('x') from generate_series(1, $rows) n`,
  );
  const added = await run('webhook', 'add', 'https://example.com/hook', '--json');
  webhook = String(JSON.parse(added.stdout).id);
  await insert(
    `insert into webhook (url, secret) select url, secret from webhook, generate_series(1, $rows) n`,
  );
  await insert(
    `insert into webhook_progress (webhook_id) select id from webhook where id not in (select webhook_id from webhook_progress)`,
  );
  await insert(
    `with event as (insert into webhook_event (type, data) select 'webhook.test', '{}' from generate_series(1, $rows) n returning id)
     insert into webhook_delivery (webhook_id, event_id) select $1, id from event`,
    webhook,
  );
  await insert(
    `insert into audit_entry (actor_type, actor, action, subject)
     select 'cli', 'test', 'campaign.update', '1' from generate_series(1, $rows) n`,
  );
});

/** Follows how many rows the largest result of a query has. */
function followRows(): { max: number } {
  const followed = { max: 0 };
  const { query } = pg.Pool.prototype;
  const spy = vi.spyOn(pg.Pool.prototype, 'query').mockImplementation(async function (
    this: unknown,
    ...args: unknown[]
  ) {
    const result = await Reflect.apply(query, this, args);
    followed.max = Math.max(followed.max, result.rows?.length ?? 0);
    return result;
  } as typeof query);
  onTestFinished(() => spy.mockRestore());
  return followed;
}

/** Whether ids ascend or descend. */
const sorted = (ids: readonly number[], step: number) => [...ids].sort((one, other) => (one - other) * step);

describe('a list is read page by page, each row once', () => {
  it.each([
    ['audit list', 'id', -1],
    ['dead-letters list', 'id', 1],
    ['spool corrections', 'id', 1],
    ['webhook deliveries <webhook>', 'eventId', -1],
  ])('%s, with a limit', async (command, id, step) => {
    const args = command.replace('<webhook>', webhook).split(' ');
    const rows = followRows();
    const list = async (limit: number, format: string) => {
      const { code, stdout, stderr } = await run(...args, '--limit', String(limit), '--format', format);
      expect(code).toBe(0);
      return { stdout, stderr };
    };
    const { stdout, stderr } = await list(2_200, 'json');
    const ids: number[] = JSON.parse(stdout).map((row: Record<string, string>) => Number(row[id]));
    expect(ids).toHaveLength(2_200);
    expect(ids).toEqual(sorted([...new Set(ids)], step));
    expect(stderr).toMatch(/^There are (more|earlier ones): --limit lists at most 2200\n$/);
    const csv = await list(2_200, 'csv');
    expect(csv.stdout.trim().split('\n')).toHaveLength(2_201);
    const table = await list(2_200, 'table');
    expect(table.stdout.trim().split('\n')).toHaveLength(2_201);
    const whole = await list(9_000_000, 'json');
    expect(JSON.parse(whole.stdout).length).toBeGreaterThanOrEqual(ROWS);
    expect(whole.stderr).toBe('');
    expect(rows.max).toBe(READ_ROWS_MAX);
  });

  it.each([
    ['advertiser list', READ_ROWS_MAX],
    ['advertiser entries <advertiser>', READ_ROWS_MAX],
    ['campaign list', READ_ROWS_MAX],
    // It reads 10 000 at a time.
    ['ad list', ROWS + 1],
    ['webhook list', READ_ROWS_MAX],
    ['key list', READ_ROWS_MAX],
  ])('%s, without one', async (command, readRowsMax) => {
    const args = command.replace('<advertiser>', advertiser).split(' ');
    const rows = followRows();
    const { stdout, stderr } = await run(...args, '--json');
    const ids: number[] = JSON.parse(stdout).map(({ id }: { id: string }) => Number(id));
    expect(ids.length).toBeGreaterThanOrEqual(ROWS);
    expect(ids).toEqual(sorted([...new Set(ids)], 1));
    expect(stderr).toBe('');
    expect(rows.max).toBe(readRowsMax);
  });
});

it.each(['audit list', 'webhook list'])('%s says that an advertiser does not exist', async (command) => {
  const { code, stdout, stderr } = await run(...command.split(' '), '--advertiser', '2000000000');
  expect([code, stdout, stderr]).toEqual([
    1,
    '',
    'Expected the id of an advertiser in the database, got 2000000000\n',
  ]);
});

it('spool corrections shows the latest, oldest first', async () => {
  const list = async (limit: string) =>
    JSON.parse((await run('spool', 'corrections', '--limit', limit, '--json')).stdout).map(
      ({ before }: { before: string }) => Number(before),
    );
  expect(await list('3')).toEqual([ROWS - 2, ROWS - 1, ROWS]);
});

describe('printPages', () => {
  const read = (count: number) =>
    beyondId<{ id: number }>(async ({ limit, after = 0 }) =>
      Array.from({ length: Math.min(limit, count - after) }, (_, index) => ({ id: after + index + 1 })),
    );
  it.each([
    // Rows, limit, rows of a read; what is printed, and whether a note says that there are more.
    [0, 5, 2, 0, false],
    [4, 5, 2, 4, false],
    [5, 5, 2, 5, false],
    [6, 5, 2, 5, true],
    [2, 2, 2, 2, false],
    [3, undefined, 2, 3, false],
  ])('of %i rows, with the limit %s', async (count, limit, pageRows, printed, hasMore) => {
    const texts = { stdout: '', stderr: '' };
    for (const name of ['stdout', 'stderr'] as const) {
      const spy = vi.spyOn(process[name], 'write').mockImplementation((text) => {
        texts[name] += String(text);
        return true;
      });
      onTestFinished(() => spy.mockRestore());
    }
    const output = { format: 'json' as const, ...(limit !== undefined && { limit }) };
    await printPages({ read: read(count), toRows: (items) => items, empty: 'None', pageRows }, output);
    expect(JSON.parse(texts.stdout)).toHaveLength(printed);
    expect(texts.stderr).toBe(hasMore ? `There are more: --limit lists at most ${limit}\n` : '');
  });
});
