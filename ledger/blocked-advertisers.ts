import { arrayLiteral, BEGIN, inTransaction, type Pool } from '../common/postgres/postgres.ts';
import type { ReadClick } from '../contract/click-event.ts';

/** The highest time in a UUIDv7, in Unix ms. */
const TIME_MS_MAX = 2 ** 48 - 1;

/**
 * Why clicks of an advertiser cannot be settled now: another session keeps a row locked, or it has daily caps and the database server does not
 * know the time zone of their days.
 */
export type BlockReason = 'locked' | 'time zone';

/**
 * Returns the advertisers of clicks that are blocked now: those with a locked row of the advertiser, or of the clicks' campaigns, days of
 * campaigns or ads, and those with a daily cap and a time zone that the server does not know. Does not wait for row locks. Waits up to 1 s for table locks, then throws (SQLSTATE 55P03), because
 * a table lock blocks all advertisers.
 */
export async function findBlockedAdvertisers(
  pool: Pool,
  clicks: readonly ReadClick[],
): Promise<ReadonlyMap<number, BlockReason>> {
  const idsOf = (pick: (click: ReadClick['click']) => number) =>
    arrayLiteral([...new Set(clicks.map(({ click }) => pick(click)))]);
  const earliestMs = clicks.reduce((earliest, { click }) => Math.min(earliest, click.clickedAt), TIME_MS_MAX);
  const { rows } = await inTransaction(
    pool,
    (connection) =>
      connection.query<{ id: number; reason: BlockReason }>(
        `with advertisers as (select id from advertiser where id = any($1::integer[]) for no key update skip locked),
         campaigns as (select id from campaign where id = any($2::integer[]) for no key update skip locked),
         earliest as (select (to_timestamp($4::float8) - interval '1 day')::date as day),
         ads as (select id from ad where id = any($3::integer[]) for no key update skip locked),
         days as (select campaign_id, day from campaign_day where campaign_id = any($2::integer[]) and day >= (select day from earliest) for no key update skip locked)
         select id, 'locked' as reason from advertiser where id = any($1::integer[]) and id not in (select id from advertisers)
         union select advertiser_id, 'locked' from campaign where id = any($2::integer[]) and id not in (select id from campaigns)
         union select advertiser_id, 'locked' from campaign_day join campaign on id = campaign_id
           where campaign_id = any($2::integer[]) and day >= (select day from earliest) and (campaign_id, day) not in (select campaign_id, day from days)
         union select advertiser_id, 'locked' from ad where id = any($3::integer[]) and id not in (select id from ads)
         union select id, 'time zone' from advertiser where id = any($1::integer[]) and known_day(now(), time_zone) is null
           and exists (select from campaign where advertiser_id = advertiser.id and daily_cap_since is not null)`,
        [
          idsOf(({ advertiserId }) => advertiserId),
          idsOf(({ campaignId }) => campaignId),
          idsOf(({ adId }) => adId),
          earliestMs / 1_000,
        ],
      ),
    `${BEGIN}; set local lock_timeout = '1s'`,
  );
  return new Map(rows.map(({ id, reason }) => [id, reason]));
}
