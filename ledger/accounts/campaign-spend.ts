import type { Connection, Pool } from '../../common/postgres/postgres.ts';
import { prepared } from '../../common/postgres/prepared.ts';
import { singleRow } from '../../common/postgres/single-row.ts';
import { partitionName } from '../partitions.ts';
import { listUnrolledDays } from '../reports/rollup.ts';

/**
 * Returns the sum of all charges of a campaign, or of those of one day (`2026-01-31`) in the advertiser's time zone, in micros. Credits do
 * not lower it. The sum is exact until the commit if the caller holds the advertiser's lock, because no click of the campaign is settled
 * before. It consists of the rollup and of the ledger's rows that the rollup does not have yet. Throws if the campaign does not exist.
 */
export async function readCampaignSpend(
  connection: Connection,
  campaignId: number,
  day: string | null = null,
): Promise<bigint> {
  // No run of the rollup and no drop of a day commits while this lock is held, so the statements below see one state.
  const { rows } = await connection.query<{ rolledTo: Date }>(
    'select rolled_to as "rolledTo" from click_rollup_state for share',
  );
  const { rolledTo } = singleRow(rows);
  const { rows: rolledUp } = await connection.query<{ micros: bigint }>(
    `select coalesce(sum(charged_micros), 0)::bigint as micros from click_rollup_day
     where advertiser_id = (select advertiser_id from campaign where id = $1) and campaign_id = $1 and ($2::date is null or day = $2)`,
    [campaignId, day],
  );
  let micros = singleRow(rolledUp).micros;
  // As in the rollup: the planner could choose a scan of the whole day.
  await connection.query('set local enable_seqscan = off');
  for (const ledgerDay of await listUnrolledDays(connection, rolledTo)) {
    const { rows: tail } = await connection.query<{ micros: bigint }>(
      `select coalesce(sum(charged_micros), 0)::bigint as micros from ${partitionName('ledger', ledgerDay)}
       where settled_at >= $1 and campaign_id = $2 and ($3::date is null or (clicked_at at time zone
         (select time_zone from advertiser join campaign on campaign.advertiser_id = advertiser.id where campaign.id = $2))::date = $3)`,
      [rolledTo, campaignId, day],
    );
    micros += singleRow(tail).micros;
  }
  await connection.query('set local enable_seqscan = on');
  return micros;
}

/** Returns the sum of all charges of a campaign in the rollup, in micros: exact as of its last run. It takes no lock. */
export async function readCampaignCharges(pool: Pool, campaignId: number): Promise<bigint> {
  const { rows } = await pool.query<{ micros: bigint }>(
    prepared(
      `select coalesce(sum(charged_micros), 0)::bigint as micros from click_rollup_day
       where advertiser_id = (select advertiser_id from campaign where id = $1) and campaign_id = $1`,
      [campaignId],
    ),
  );
  return singleRow(rows).micros;
}
