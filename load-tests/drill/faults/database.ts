import type { Pool } from '../../../common/postgres/postgres.ts';
import { sleep } from '../../../common/process.ts';
import type { Drill, Undo } from '../drill.ts';
import { SPOOL_MAX_BYTES } from '../drill-stack.ts';
import { suspend } from './parts.ts';

/** Clicks that fill the spools, more than fit: the event of a click has about 400 bytes. */
const FILLING_CLICKS = Math.ceil(SPOOL_MAX_BYTES / 250);

/** Locks a table against everything, until undone. */
export async function lockTable(pool: Pool, table: string): Promise<Undo> {
  const connection = await pool.connect();
  await connection.query(`begin; lock table ${table} in access exclusive mode`);
  return async () => {
    await connection.query('rollback');
    connection.release();
  };
}

/** Drills of PostgreSQL, which is also the broker of the stack. */
export const databaseDrills: readonly Drill[] = [
  {
    cause: 'PostgreSQL, which is also the broker, hangs until the spools are full',
    alerts: {
      TollwayDatabaseDown: [],
      TollwayBrokerDown: [],
      TollwayCatalogOld: [['> 60', '> 5']],
      TollwaySpoolOld: [['> 60', '> 5']],
      TollwaySpoolLarge: [['536870912', String(SPOOL_MAX_BYTES / 2)]],
      TollwayClicksUnrecorded: [],
    },
    isGentle: false,
    begin: async ({ addAd, click, postgresPids }) => {
      const { adId } = await addAd('Drill: full spools', { budget: '1000.00', price: '0.01' });
      const resume = suspend(postgresPids());
      await click(adId, FILLING_CLICKS);
      return resume;
    },
  },
  {
    cause: 'another session locks the ledger',
    alerts: { TollwaySettlementBlocked: [], TollwayBacklogOld: [['> 60', '> 5']] },
    isGentle: false,
    begin: async ({ addAd, click, pool }) => {
      const { adId } = await addAd('Drill: locked ledger', { budget: '1000.00', price: '0.01' });
      const unlock = await lockTable(pool, 'ledger');
      await click(adId, 20);
      await sleep(1_000);
      await click(adId, 20);
      return unlock;
    },
  },
];
