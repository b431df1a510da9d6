import { TollwayError } from '../../common/errors.ts';
import { formatAmount } from '../../common/money.ts';
import type { Connection } from '../../common/postgres/postgres.ts';
import { singleRow } from '../../common/postgres/single-row.ts';
import { uuidFloor } from '../../common/uuid.ts';
import { dayStart } from '../partitions.ts';
import { inServerTimeZone } from '../server-time-zones.ts';

type CappedCampaign = {
  readonly id: number;
  readonly advertiserId: number;
  readonly currency: string;
  readonly timeZone: string;
  readonly capMicros: bigint | null;
  readonly since: string | null;
  /** The present day in the advertiser's time zone, and its first instant. */
  readonly today: string;
  readonly beginsAt: Date;
};

/**
 * Gives a campaign's days from the present one in the advertiser's time zone on a new daily cap, in micros; `null` removes it. Past days
 * keep theirs. Returns the present day. Throws `cap_below_spent` if the day has spent more, and `bad_time_zone` if the database server does not
 * know the time zone. Call it under the advertiser's lock, before the campaign is updated, and update the budget flags afterwards.
 */
export async function changeDailyCap(
  connection: Connection,
  campaignId: number,
  capMicros: bigint | null,
): Promise<string> {
  const campaign = await readCampaign(connection, campaignId);
  await keepPastCaps(connection, campaign);
  if (capMicros !== null) {
    if (campaign.capMicros === null) await countSpend(connection, campaign);
    await assertAboveSpend(connection, campaign, capMicros);
  }
  await connection.query(
    'update campaign_day set cap_micros = $3 where campaign_id = $1 and day >= $2::date',
    [campaignId, campaign.today, capMicros],
  );
  return campaign.today;
}

async function readCampaign(connection: Connection, campaignId: number): Promise<CappedCampaign> {
  // `now()` is from before the wait for the lock.
  const campaign = connection.query<CappedCampaign>(
    `select campaign.id, campaign.advertiser_id as "advertiserId", currency, time_zone as "timeZone",
       daily_cap_micros as "capMicros", daily_cap_since::text as since, today::text, day_start(today, time_zone) as "beginsAt"
     from campaign join advertiser on advertiser.id = campaign.advertiser_id
     cross join lateral (select (clock_timestamp() at time zone time_zone)::date as today) clock
     where campaign.id = $1`,
    [campaignId],
  );
  return singleRow((await inServerTimeZone(campaign)).rows);
}

/** Gives the past days without a row, on which nothing was spent, the cap that they had. Days that the ledger has closed need none. */
async function keepPastCaps(
  connection: Connection,
  { id, since, today, capMicros }: CappedCampaign,
): Promise<void> {
  if (since === null) return;
  await connection.query(
    `insert into campaign_day (campaign_id, day, cap_micros)
     select $1::integer, day::date, $4::bigint from ledger_window
     cross join generate_series(greatest($2::date, click_floor::date - 1), $3::date - 1, '1 day') day
     on conflict do nothing`,
    [id, since, today, capMicros],
  );
}

/** Counts what a campaign without a daily cap has spent on the present day and later ones: an ad server's clock can be ahead. */
async function countSpend(connection: Connection, campaign: CappedCampaign): Promise<void> {
  const { id, advertiserId, timeZone, today, beginsAt } = campaign;
  await connection.query(
    'update campaign_day set spent_micros = 0 where campaign_id = $1 and day >= $2::date',
    [id, today],
  );
  // One statement reads one snapshot: the rollup, and the rows that are not in it.
  await connection.query(
    `insert into campaign_day (campaign_id, day, spent_micros)
     select $1::integer, day, sum(micros) from (
       select day, charged_micros as micros from click_rollup_day where advertiser_id = $2 and campaign_id = $1
       union all
       select (clicked_at at time zone $3)::date, charged_micros from ledger
       where campaign_id = $1 and click_id >= $5 and settled_at >= (select rolled_to from click_rollup_state)
     ) charge where day >= $4::date group by day having sum(micros) > 0
     on conflict (campaign_id, day) do update set spent_micros = excluded.spent_micros`,
    [id, advertiserId, timeZone, today, uuidFloor(dayStart(beginsAt.getTime()))],
  );
}

async function assertAboveSpend(
  connection: Connection,
  { id, currency, today }: CappedCampaign,
  capMicros: bigint,
): Promise<void> {
  const { rows } = await connection.query<{ day: string; spentMicros: bigint }>(
    `select day::text, spent_micros as "spentMicros" from campaign_day
     where campaign_id = $1 and day >= $2::date and spent_micros > $3 order by day limit 1`,
    [id, today, capMicros],
  );
  const [spent] = rows;
  if (spent === undefined) return;
  const least = `${formatAmount(spent.spentMicros)} ${currency}`;
  throw new TollwayError(
    'cap_below_spent',
    `Expected a daily cap of at least ${least}, which campaign ${id} has spent on ${spent.day}, got ${formatAmount(capMicros)}`,
    { field: 'dailyCap' },
  );
}
