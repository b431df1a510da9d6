import { beforeAll, describe, expect, it } from 'vitest';
import { DAY_MS } from '../../common/unix-time.ts';
import { addBudgetEntry, creditClick } from '../../ledger/accounts/budget-entries.ts';
import { dayStart, isoDay } from '../../ledger/partitions.ts';
import { GRANTS } from '../../migrations/grants.ts';
import { chargeBatch } from '../support/charge-batch.ts';
import { type Account, addAccount, testDatabase } from '../support/database.ts';
import { documentedTables, internalColumns, internalTables, pageQueries } from '../support/database-page.ts';
import { clickRecord, unreadableRecord } from '../support/records.ts';

const database = testDatabase();

describe('the tables of docs/database.md', () => {
  async function columnsOf(table: string): Promise<string[]> {
    const { rows } = await database.pool.query<{ name: string; type: string; nullable: string }>(
      `select column_name as name, lower(is_nullable) as nullable,
         case data_type when 'USER-DEFINED' then udt_name when 'ARRAY' then replace(substr(udt_name, 2), 'int4', 'integer') || '[]' when 'timestamp with time zone' then 'timestamptz' else data_type end as type
       from information_schema.columns where table_schema = 'public' and table_name = $1 order by ordinal_position`,
      [table],
    );
    return rows.map(({ name, type, nullable }) => `${name} ${type} ${nullable}`);
  }

  it('are all tables of a migrated database but the partitions, public or internal', async () => {
    const { rows } = await database.pool.query<{ name: string }>(
      `select relname as name from pg_class
       where relnamespace = 'public'::regnamespace and relkind in ('r', 'p', 'v', 'm') and not relispartition order by 1`,
    );
    const documented = [...documentedTables().map(({ table }) => table), ...internalTables()];
    expect(documented.sort()).toEqual(rows.map(({ name }) => name));
  });

  it.each(documentedTables())('$table: columns, types and nulls', async ({ table, columns }) => {
    expect(columns).toEqual(await columnsOf(table));
  });

  it('name every outcome of the ledger', async () => {
    const { rows } = await database.pool.query<{ outcomes: string[] }>(
      'select enum_range(null::click_outcome)::text[] as outcomes',
    );
    expect(rows[0]?.outcomes).toEqual(['charged', 'over_budget', 'invalid']);
  });

  it('are granted to tollway_reporting, but for the columns that are called internal', () => {
    const granted = GRANTS.tollway_reporting ?? {};
    const missing = documentedTables().flatMap(({ table, columns }) => {
      const [, listed] = /^select \((.*)\)$/.exec(granted[table] ?? '') ?? [];
      if (granted[table] === 'select') return [];
      const names = new Set(listed?.split(', '));
      return columns.flatMap((column) => {
        const [name = ''] = column.split(' ');
        return names.has(name) ? [] : `${table}.${name}`;
      });
    });
    expect(missing).toEqual(internalColumns());
  });
});

describe('the queries of docs/database.md', () => {
  /** The first moment of a UTC day, which is a day earlier where the queries are run. */
  const now = dayStart(Date.now());
  const queries = pageQueries(now);
  let rich: Account;
  let poor: Account;

  beforeAll(async () => {
    rich = await addAccount(database.pool, { budget: '10.00', price: '0.25', cap: '5.00', dailyCap: '5.00' });
    poor = await addAccount(database.pool, { budget: '0.30', price: '0.25' });
    const credited = clickRecord({ ad: rich.ad, clickedAt: now });
    const clicks = [
      credited,
      clickRecord({ ad: rich.ad, clickedAt: now - DAY_MS }),
      clickRecord({ ad: rich.ad, clickedAt: now - DAY_MS }),
      clickRecord({ ad: poor.ad, clickedAt: now }),
      clickRecord({ ad: poor.ad, clickedAt: now }),
      clickRecord({ ad: rich.ad, clickedAt: now, invalid: 'bot' }),
      unreadableRecord(Buffer.from('not a click')),
    ];
    await chargeBatch(database.pool, clicks);
    await addBudgetEntry(database.pool, rich.advertiser.id, 'adjustment', 1_000_000n);
    await creditClick(database.pool, credited.click.clickId);
    await database.pool.query(
      `insert into closed_day (day, advertiser_id, campaign_id, outcome, clicks, charged_micros)
       values ('2026-01-01', $1, $2, 'charged', 8, 2000000)`,
      [rich.advertiser.id, rich.campaign.id],
    );
  });

  /** Runs a query of the page far west of UTC: the days of the page are UTC days wherever a report is made. */
  async function run(sql: string): Promise<Record<string, unknown>[]> {
    const connection = await database.pool.connect();
    try {
      await connection.query("begin read only; set local timezone = 'Pacific/Pago_Pago'");
      const { rows } = await connection.query(sql);
      await connection.query('rollback');
      return rows;
    } finally {
      connection.release();
    }
  }

  it('are ten or more', () => {
    expect(queries.length).toBeGreaterThanOrEqual(10);
  });

  it.each(queries)('find rows: $name', async ({ sql }) => {
    expect(await run(sql)).not.toEqual([]);
  });

  it.each(queries.filter(({ sql }) => sql.includes('uuid_floor')))(
    'read the partitions of their days only: $name',
    async ({ sql }) => {
      const { rows } = await database.pool.query<{ 'QUERY PLAN': string }>(`explain ${sql}`);
      const plan = rows.map((row) => row['QUERY PLAN']).join('\n');
      const read = new Set([...plan.matchAll(/ledger_(\d{8})/g)].map(([, day]) => day));
      const [from = '', to = ''] = [...sql.matchAll(/uuid_floor\('([\d-]+)'\)/g)].map(([, day]) => day);
      expect(read.size).toBe((Date.parse(to) - Date.parse(from)) / DAY_MS);
      expect(plan).not.toContain('Subplans Removed');
    },
  );

  it('count spend by the UTC days of the clicks', async () => {
    const { sql = '' } = queries.find(({ name }) => name.startsWith('Spend per day and ad')) ?? {};
    const wrapped = `select day::text, ad_id, clicks::int, spend::float8 from (${sql.replace(';', '')}) page`;
    expect(await run(wrapped)).toEqual([
      { day: isoDay(now - DAY_MS), ad_id: rich.ad.id, clicks: 2, spend: 0.5 },
      { day: isoDay(now), ad_id: rich.ad.id, clicks: 1, spend: 0.25 },
      { day: isoDay(now), ad_id: poor.ad.id, clicks: 1, spend: 0.25 },
    ]);
  });
});
