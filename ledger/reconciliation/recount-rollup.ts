import { arrayLiteral, type Connection } from '../../common/postgres/postgres.ts';
import { DAY_MS } from '../../common/unix-time.ts';
import { listUnknownZoneAdvertisers } from '../server-time-zones.ts';
import type { ReconciliationProblem } from './problem.ts';

/** Most differences of one kind that are reported. */
const REPORTED_MAX = 20;

type Difference = { what: string; stored: string; found: string };

/** Returns the time that the rollup is true for. */
export async function readRolledTo(connection: Connection): Promise<Date> {
  const { rows } = await connection.query<{ rolledTo: Date }>(
    'select rolled_to as "rolledTo" from click_rollup_state',
  );
  const [state] = rows;
  if (!state) throw new Error('Expected one row in click_rollup_state, got none. Run npm run migrate');
  return state.rolledTo;
}

/** Compares one day of the ledger, as far as it was settled before `rolledTo`, with the rollup. Returns one sentence for each difference. */
export async function compareRollupDay(
  connection: Connection,
  partition: string,
  day: number,
  rolledTo: Date,
): Promise<ReconciliationProblem[]> {
  const { rows } = await connection.query<Difference>(
    `with found as (
       select date_bin('15 minutes', clicked_at, 'epoch') as quarter, advertiser_id, campaign_id, ad_id,
         coalesce(publisher, '') as publisher, outcome, coalesce(reason, '') as reason, count(*) as clicks, sum(charged_micros)::bigint as micros
       from ${partition} where settled_at < $3 group by 1, 2, 3, 4, 5, 6, 7
     ), stored as (
       select quarter, advertiser_id, campaign_id, ad_id, publisher, outcome, reason, clicks, charged_micros as micros
       from click_rollup where quarter >= $1 and quarter < $2 and clicks > 0
     )
     select format('ad %s%s at %s (%s)', ad_id, ${PUBLISHER}, to_char(quarter at time zone 'UTC', 'YYYY-MM-DD HH24:MI'),
         outcome || case when reason = '' then '' else ': ' || reason end) as what,
       ${DIFFERENCE}
     from found full join stored using (quarter, advertiser_id, campaign_id, ad_id, publisher, outcome, reason)
     where found.clicks is distinct from stored.clicks or found.micros is distinct from stored.micros
     order by quarter, ad_id limit ${REPORTED_MAX}`,
    [new Date(day), new Date(day + DAY_MS), rolledTo],
  );
  return sentences('of', rows);
}

/** The publisher after the ad in a sentence. */
const PUBLISHER = "case when publisher = '' then '' else ' of publisher ' || publisher end";

const DIFFERENCE = `format('%s clicks, %s micros', coalesce(stored.clicks, 0), coalesce(stored.micros, 0)) as stored,
  format('%s clicks, %s micros', coalesce(found.clicks, 0), coalesce(found.micros, 0)) as found`;

/**
 * Compares the sums by day with those by quarter of an hour, closed days with the rollup, and credits with the budget entries. The sums by day
 * of advertisers whose time zone the database server does not know are left out.
 */
export async function compareRollupSums(connection: Connection): Promise<ReconciliationProblem[]> {
  const days = await connection.query<Difference>(
    `with found as (
       select (quarter at time zone time_zone)::date as day, advertiser_id, campaign_id, ad_id, publisher, outcome, reason,
         sum(rollup.clicks)::bigint as clicks, sum(rollup.charged_micros - rollup.credited_micros)::bigint as micros
       from click_rollup rollup join advertiser on advertiser.id = advertiser_id
       where advertiser_id <> all($1::integer[]) group by 1, 2, 3, 4, 5, 6, 7
     ), stored as (
       select day, advertiser_id, campaign_id, ad_id, publisher, outcome, reason, clicks, charged_micros - credited_micros as micros
       from click_rollup_day where advertiser_id <> all($1::integer[])
     )
     select format('ad %s%s on %s (%s)', ad_id, ${PUBLISHER}, day, outcome) as what, ${DIFFERENCE}
     from found full join stored using (day, advertiser_id, campaign_id, ad_id, publisher, outcome, reason)
     where found.clicks is distinct from stored.clicks or found.micros is distinct from stored.micros
     order by day, ad_id limit ${REPORTED_MAX}`,
    [arrayLiteral(await listUnknownZoneAdvertisers(connection))],
  );
  const closed = await connection.query<Difference>(
    `with found as (
       select day, campaign_id, outcome, sum(clicks)::bigint as clicks, sum(charged_micros)::bigint as micros
       from closed_day group by 1, 2, 3
     ), stored as (
       select (quarter at time zone 'UTC')::date as day, campaign_id, outcome, sum(clicks)::bigint as clicks,
         sum(charged_micros)::bigint as micros
       from click_rollup where (quarter at time zone 'UTC')::date in (select day from closed_day) group by 1, 2, 3
     )
     select format('campaign %s on %s (%s)', campaign_id, day, outcome) as what, ${DIFFERENCE}
     from found full join stored using (day, campaign_id, outcome)
     where found.clicks is distinct from stored.clicks or found.micros is distinct from stored.micros
     order by day, campaign_id limit ${REPORTED_MAX}`,
  );
  const credits = await connection.query<Difference>(
    `with found as (
       select advertiser_id, count(*) as clicks, sum(amount_micros)::bigint as micros
       from budget_entry where kind = 'credit' group by 1
     ), stored as (
       select advertiser_id, sum(credited_clicks)::bigint as clicks, sum(credited_micros)::bigint as micros
       from click_rollup where credited_clicks > 0 group by 1
     )
     select format('credits of advertiser %s', advertiser_id) as what, ${DIFFERENCE}
     from found full join stored using (advertiser_id)
     where found.clicks is distinct from stored.clicks or found.micros is distinct from stored.micros
     order by advertiser_id limit ${REPORTED_MAX}`,
  );
  return [
    ...sentences('by day of', days.rows),
    ...(await compareTotals(connection)),
    ...sentences('of closed', closed.rows),
    ...sentences('of', credits.rows),
  ];
}

/** Compares the sums over all days with those by day. */
async function compareTotals(connection: Connection): Promise<ReconciliationProblem[]> {
  const { rows } = await connection.query<Difference>(
    `with found as (
       select advertiser_id, outcome, sum(clicks)::bigint as clicks from click_rollup_day group by 1, 2 having sum(clicks) > 0
     ), stored as (
       select advertiser_id, outcome, clicks from click_rollup_total, lateral (
         values ('charged'::click_outcome, charged), ('over_budget', over_budget), ('invalid', invalid)
       ) counted (outcome, clicks) where clicks <> 0
     )
     select format('advertiser %s (%s)', advertiser_id, outcome) as what, format('%s clicks', coalesce(stored.clicks, 0)) as stored,
       format('%s clicks', coalesce(found.clicks, 0)) as found
     from found full join stored using (advertiser_id, outcome)
     where found.clicks is distinct from stored.clicks order by advertiser_id, outcome limit ${REPORTED_MAX}`,
  );
  return sentences('of all days of', rows);
}

function sentences(sums: string, rows: readonly Difference[]): ReconciliationProblem[] {
  return rows.map(
    ({ what, stored, found }): ReconciliationProblem =>
      `rollup ${sums} ${what}: stored ${stored}, the ledger has ${found}`,
  );
}
