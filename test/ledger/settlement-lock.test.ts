import { expect, it } from 'vitest';
import { inTransaction, type Pool } from '../../common/postgres/postgres.ts';
import { LOCK_SETTLEMENT, readSettlementWatermark } from '../../ledger/settlement-watermark.ts';
import { addAccount, testDatabase } from '../support/database.ts';

const database = testDatabase();

/** Seconds since 1970 have more than 31 bits from 2038 on; seconds since 2020 from 2088 on. */
const TIMES = ['2038-01-19 03:14:08+00', '2088-01-18 00:00:00+00'];

function at(time: string, sql: string): string {
  expect(sql).toContain('clock_timestamp()');
  return sql.replaceAll('clock_timestamp()', `timestamptz '${time}'`);
}

async function definitionOf(pool: Pool, name: string): Promise<string> {
  const { rows } = await pool.query<{ definition: string }>(
    'select pg_get_functiondef($1::regproc) as definition',
    [name],
  );
  return rows[0]?.definition ?? '';
}

it.each(TIMES)('a charge takes the lock of the settlement watermark at %s', async (time) => {
  await inTransaction(database.pool, async (connection) => {
    await connection.query(at(time, LOCK_SETTLEMENT));
    // The lock is one of the future, so it does not hold the watermark back.
    expect(await readSettlementWatermark(database.pool)).toBeInstanceOf(Date);
    const { rows } = await connection.query<{ seconds: number }>(
      `select max(objid::int8)::float8 as seconds from pg_locks where locktype = 'advisory' and pid = pg_backend_pid()`,
    );
    expect(rows).toEqual([{ seconds: (Date.parse(time) - Date.parse('2020-01-01')) / 1_000 }]);
  });
});

it.each(TIMES)('changes are written to the audit log at %s', async (time) => {
  const definition = await definitionOf(database.pool, 'write_audit_entry');
  await database.pool.query(at(time, definition));
  const { advertiser } = await addAccount(database.pool);
  await database.pool.query(definition);
  const { rows } = await database.pool.query<{ at: Date }>(
    'select distinct at from audit_entry where advertiser_id = $1',
    [advertiser.id],
  );
  expect(rows).toEqual([{ at: new Date(time) }]);
});
