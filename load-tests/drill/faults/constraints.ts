import type { Pool } from '../../../common/postgres/postgres.ts';
import type { Drill, Undo } from '../drill.ts';
import { untilTrue } from '../until-true.ts';

/** Longest wait until `npm start` has started the processor again, in ms. It waits longer after each failure. */
const RESTART_MS_MAX = 60_000;

/** Longest wait until the processor charges a click, in ms. */
const WAITS_MS_MAX = 20_000;

/** Adds a trigger that raises each charge of an advertiser above its budget, until undone. */
async function raiseCharges(pool: Pool, advertiserId: number): Promise<Undo> {
  await pool.query(
    `create function drill_raise_charge() returns trigger language plpgsql as
       'begin new.spent_micros := new.budget_micros + 1; return new; end';
     create trigger drill_raise_charge before update of spent_micros on advertiser
       for each row when (new.id = ${advertiserId}) execute function drill_raise_charge()`,
  );
  return async () => void (await pool.query('drop function drill_raise_charge cascade'));
}

/** Locks the row of an advertiser, until undone. */
async function lockAdvertiser(pool: Pool, advertiserId: number): Promise<Undo> {
  const connection = await pool.connect();
  await connection.query('begin');
  await connection.query('select from advertiser where id = $1 for update', [advertiserId]);
  return async () => {
    await connection.query('rollback');
    connection.release();
  };
}

/** Drills of constraints that contradict a charge. */
export const constraintDrills: readonly Drill[] = [
  {
    // Without a charge that waits, the processor ends before Prometheus scrapes the counter.
    cause: 'a trigger raises a charge above the budget, while another charge waits for a lock',
    alerts: { TollwayInvariantBroken: [] },
    isGentle: false,
    begin: async ({ addAd, click, pool, pidOf, prometheus }) => {
      const locked = await addAd('Drill: locked advertiser', { budget: '100.00', price: '0.01' });
      const broken = await addAd('Drill: broken charge', { budget: '100.00', price: '0.01' });
      const dropTrigger = await raiseCharges(pool, broken.advertiserId);
      const unlock = await lockAdvertiser(pool, locked.advertiserId);
      await click(locked.adId, 1);
      const waits =
        "select from pg_stat_activity where wait_event_type = 'Lock' and application_name like '%processor'";
      const isWaiting = async () => (await pool.query(waits)).rowCount !== 0;
      await untilTrue('a charge that waits for the lock', isWaiting, WAITS_MS_MAX);
      await click(broken.adId, 1);
      return async () => {
        // The trigger cannot be dropped while a row of its table is locked.
        await unlock();
        await dropTrigger();
        // Later drills signal the processor.
        const isBack = async () => {
          pidOf('processor');
          return (await prometheus.query('min_over_time(up{job="processor"}[5s]) == 1')).length > 0;
        };
        await untilTrue('the processor after a broken constraint', isBack, RESTART_MS_MAX);
      };
    },
  },
];
