import { randomUUID } from 'node:crypto';
import type { Pool } from '../../../common/postgres/postgres.ts';
import { DAY_MS } from '../../../common/unix-time.ts';
import {
  dayStart,
  isoDay,
  listPartitionDays,
  PARTITIONED,
  type Partitioned,
  partitionName,
} from '../../../ledger/partitions.ts';
import type { Drill, Undo } from '../drill.ts';

const MISSING = 7;

async function listDays(pool: Pool, table: Partitioned): Promise<number[]> {
  const connection = await pool.connect();
  try {
    return await listPartitionDays(connection, table);
  } finally {
    connection.release();
  }
}

/** Drops the partitions of all days from a time on, until undone. No click of the drill is so late. */
async function dropPartitions(pool: Pool, fromMs: number): Promise<Undo> {
  const dropped: [Partitioned, string[]][] = [];
  for (const table of PARTITIONED) {
    const days = (await listDays(pool, table)).filter((day) => day >= dayStart(fromMs));
    for (const day of days) await pool.query(`drop table ${partitionName(table, day)}`);
    dropped.push([table, days.map(isoDay)]);
  }
  return async () => {
    for (const part of dropped)
      await pool.query('select add_partition($1, day) from unnest($2::date[]) day', part);
  };
}

/** Drills that change rows of the ledger by hand, which nothing else does. The drill owns the database. */
export const rowDrills: readonly Drill[] = [
  {
    cause: 'the budget of an advertiser differs from its entries by a millionth',
    alerts: { TollwayBooksUnbalanced: [] },
    isGentle: true,
    begin: async ({ addAd, pool }) => {
      const { advertiserId } = await addAd('Drill: unbalanced books', { budget: '10.00', price: '0.01' });
      const add = (micros: number) =>
        pool.query('update advertiser set budget_micros = budget_micros + $2 where id = $1', [
          advertiserId,
          micros,
        ]);
      await add(1);
      return async () => void (await add(-1));
    },
  },
  {
    cause: 'a spool has accepted clicks that are nowhere',
    alerts: { TollwayClicksMissing: [] },
    isGentle: true,
    begin: async ({ pool }) => {
      const spoolId = randomUUID();
      await pool.query('insert into spool_total (spool_id, accepted) values ($1, $2)', [spoolId, MISSING]);
      return async () => void (await pool.query('delete from spool_total where spool_id = $1', [spoolId]));
    },
  },
  {
    cause: 'maintenance waits for a lock, and the partitions after tomorrow are gone',
    alerts: {
      TollwayPartitionsFew: [],
      // Maintenance takes place twice a minute.
      TollwayMaintenanceOld: [
        ['> 3600', '> 50'],
        ['[30s]', '[5m]'],
      ],
    },
    isGentle: true,
    begin: async ({ pool }) => {
      const connection = await pool.connect();
      await connection.query("select pg_advisory_lock(hashtext('tollway partitions'))");
      const restore = await dropPartitions(pool, Date.now() + 2 * DAY_MS);
      return async () => {
        await restore();
        await connection.query("select pg_advisory_unlock(hashtext('tollway partitions'))");
        connection.release();
      };
    },
  },
];
