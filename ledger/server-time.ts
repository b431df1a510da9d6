import type { Client } from '../common/postgres/postgres.ts';

/** Reads the clock of the database server. */
export async function readServerTime(client: Client): Promise<Date> {
  const { rows } = await client.query<{ now: Date }>('select clock_timestamp() as now');
  const [row] = rows;
  if (!row) throw new Error('Expected one row, got none');
  return row.now;
}
