import { arrayLiteral, type Connection } from '../../common/postgres/postgres.ts';
import { partitionName } from '../partitions.ts';
import { listUnrolledDays } from '../reports/rollup.ts';
import { listUnknownZoneAdvertisers } from '../server-time-zones.ts';
import type { ReconciliationProblem } from './problem.ts';
import { readRolledTo } from './recount-rollup.ts';

/** Most differences that are reported. */
const REPORTED_MAX = 20;

/**
 * Compares what each day with a daily cap has spent with the rollup and the rows of the ledger that are not in it yet. Returns one sentence
 * for each difference. Leaves out advertisers whose time zone the database server does not know. Call it in a transaction that was begun
 * with `BEGIN_SNAPSHOT`.
 */
export async function compareCampaignDays(connection: Connection): Promise<ReconciliationProblem[]> {
  const { rowCount } = await connection.query(
    'select from campaign where daily_cap_since is not null limit 1',
  );
  if (rowCount === 0) return [];
  const leftOut = arrayLiteral(await listUnknownZoneAdvertisers(connection));
  const unrolled = await readUnrolledCharges(connection, leftOut);
  const { rows } = await connection.query<{
    campaign_id: number;
    name: string;
    day: string;
    stored: bigint;
    found: bigint;
  }>(
    `with unrolled as (
       select * from unnest($1::integer[], $2::date[], $3::bigint[]) charge (campaign_id, day, micros)
     ), found as (
       select campaign_id, day, sum(micros)::bigint as micros from (
         select campaign_id, day, charged_micros as micros from click_rollup_day union all select * from unrolled
       ) charge join campaign on campaign.id = campaign_id where day >= daily_cap_since group by 1, 2
     )
     select campaign_id, campaign.name, day::text, coalesce(campaign_day.spent_micros, 0) as stored, coalesce(micros, 0) as found
     from found full join campaign_day using (campaign_id, day) join campaign on campaign.id = campaign_id
     where coalesce(campaign_day.spent_micros, 0) <> coalesce(micros, 0)
       and case when campaign_day.spent_micros is null then daily_cap_micros else campaign_day.cap_micros end is not null
       and campaign.advertiser_id <> all($4::integer[])
     order by day, campaign_id limit ${REPORTED_MAX}`,
    [
      arrayLiteral(unrolled.map(({ campaign_id }) => campaign_id)),
      arrayLiteral(unrolled.map(({ day }) => day)),
      arrayLiteral(unrolled.map(({ micros }) => micros)),
      leftOut,
    ],
  );
  return rows.map(
    ({ campaign_id, name, day, stored, found }): ReconciliationProblem =>
      `spent by campaign ${campaign_id} (${name}) on ${day}: stored ${stored} micros, the ledger has ${found} micros`,
  );
}

type DayCharges = { readonly campaign_id: number; readonly day: string; readonly micros: bigint };

/**
 * Sums the charges that were settled after the last run of the rollup, without those of the advertisers `leftOut`. Reads one day at a time in
 * a savepoint, as `recountLedger` does.
 */
async function readUnrolledCharges(connection: Connection, leftOut: string): Promise<DayCharges[]> {
  const rolledTo = await readRolledTo(connection);
  const charges: DayCharges[] = [];
  for (const partitionDay of await listUnrolledDays(connection, rolledTo)) {
    await connection.query('savepoint one_day');
    const { rows } = await connection.query<DayCharges>(
      `select campaign_id, (clicked_at at time zone time_zone)::date::text as day, sum(charged_micros)::bigint as micros
       from ${partitionName('ledger', partitionDay)} click
       join campaign on campaign.id = click.campaign_id join advertiser on advertiser.id = campaign.advertiser_id
       where settled_at >= $1 and charged_micros > 0 and daily_cap_since is not null
         and campaign.advertiser_id <> all($2::integer[])
       group by 1, 2`,
      [rolledTo, leftOut],
    );
    charges.push(...rows);
    await connection.query('rollback to savepoint one_day');
  }
  return charges;
}
