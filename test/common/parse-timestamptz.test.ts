import { expect, it } from 'vitest';
import { inTransaction } from '../../common/postgres/postgres.ts';
import { testDatabase } from '../support/database.ts';

const database = testDatabase();
const TIMES = [
  '1970-01-01T00:00:00.000Z',
  '1971-06-01T12:34:56.789Z',
  '2026-07-01T00:00:00.000Z',
  '9999-12-31T23:59:59.999Z',
];

it.each(['UTC', 'Europe/Berlin', 'America/St_Johns', 'Pacific/Kiritimati', 'Africa/Monrovia'])(
  'a session in the time zone %s reads every time as it was written',
  async (timeZone) => {
    const read = await inTransaction(database.pool, async (connection) => {
      await connection.query("select set_config('timezone', $1, true)", [timeZone]);
      const { rows } = await connection.query<{ time: Date }>(
        'select time from unnest($1::timestamptz[]) with ordinality row (time, place) order by place',
        [TIMES],
      );
      return rows.map(({ time }) => time.toISOString());
    });
    expect(read).toEqual(TIMES);
  },
);

it('an offset can have seconds on either side of UTC', async () => {
  await inTransaction(database.pool, async (connection) => {
    await connection.query("set local timezone = 'Europe/Amsterdam'");
    const { rows } = await connection.query("select '1880-01-01T00:00:00Z'::timestamptz as time");
    expect(rows).toEqual([{ time: new Date('1880-01-01T00:00:00Z') }]);
  });
});
