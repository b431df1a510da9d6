import { arrayLiteral, BEGIN, inTransaction, type Pool } from '../../common/postgres/postgres.ts';
import type { ReadClick } from '../../contract/click-event.ts';

/** The highest time in a UUIDv7, in Unix ms. */
const TIME_MS_MAX = 2 ** 48 - 1;

/**
 * Returns the names by id of the advertisers of clicks that another session blocks now: those with a locked row of the advertiser, or of the clicks'
 * campaigns, days of campaigns or ads. Does not wait for row locks. Waits up to 1 s for table locks, then throws (SQLSTATE 55P03), because
 * a table lock blocks all advertisers.
 */
export async function findLockedAdvertisers(
  pool: Pool,
  clicks: readonly ReadClick[],
): Promise<ReadonlyMap<number, string>> {
  const idsOf = (pick: (click: ReadClick['click']) => number) =>
    arrayLiteral([...new Set(clicks.map(({ click }) => pick(click)))]);
  const earliestMs = clicks.reduce((earliest, { click }) => Math.min(earliest, click.clickedAt), TIME_MS_MAX);
  const { rows } = await inTransaction(
    pool,
    (connection) =>
      connection.query<{ id: number; name: string }>(
        `with advertisers as (select id from advertiser where id = any($1::integer[]) for no key update skip locked),
         campaigns as (select id from campaign where id = any($2::integer[]) for no key update skip locked),
         earliest as (select (to_timestamp($4::float8) - interval '1 day')::date as day),
         ads as (select id from ad where id = any($3::integer[]) for no key update skip locked),
         days as (select campaign_id, day from campaign_day where campaign_id = any($2::integer[]) and day >= (select day from earliest) for no key update skip locked)
         select id, name from advertiser where id in (
         select id from advertiser where id = any($1::integer[]) and id not in (select id from advertisers)
         union select advertiser_id from campaign where id = any($2::integer[]) and id not in (select id from campaigns)
         union select advertiser_id from campaign_day join campaign on id = campaign_id
           where campaign_id = any($2::integer[]) and day >= (select day from earliest) and (campaign_id, day) not in (select campaign_id, day from days)
         union select advertiser_id from ad where id = any($3::integer[]) and id not in (select id from ads))`,
        [
          idsOf(({ advertiserId }) => advertiserId),
          idsOf(({ campaignId }) => campaignId),
          idsOf(({ adId }) => adId),
          earliestMs / 1_000,
        ],
      ),
    `${BEGIN}; set local lock_timeout = '1s'`,
  );
  return new Map(rows.map(({ id, name }) => [id, name]));
}
