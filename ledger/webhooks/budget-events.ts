import { formatAmount } from '../../common/money.ts';
import type { Connection } from '../../common/postgres/postgres.ts';
import { singleRow } from '../../common/postgres/single-row.ts';
import type { CapReached } from '../../contract/webhook-event.ts';
import { emit } from './emit.ts';

/** Emits `budget.exhausted` or `budget.available`. `lowestPriceMicros`: of the ads that the budget can be spent on. */
export async function emitBudgetState(
  connection: Connection,
  type: 'budget.exhausted' | 'budget.available',
  advertiserId: number,
  lowestPriceMicros: bigint,
): Promise<void> {
  const { rows } = await connection.query<{ name: string; currency: string; remainingMicros: bigint }>(
    'select name, currency, remaining_micros as "remainingMicros" from advertiser where id = $1',
    [advertiserId],
  );
  const { name, currency, remainingMicros } = singleRow(rows);
  const data = {
    advertiserId,
    advertiserName: name,
    currency,
    remaining: formatAmount(remainingMicros),
    lowestPrice: formatAmount(lowestPriceMicros),
  };
  await emit(connection, { type, advertiserId, data });
}

/** Emits `campaign.cap_reached`, for the daily cap with the day of `campaign.daily_cap_reached_on`. */
export async function emitCapReached(
  connection: Connection,
  campaignId: number,
  cap: CapReached['cap'],
): Promise<void> {
  const { rows } = await connection.query<{
    advertiserId: number;
    advertiserName: string;
    campaignName: string;
    externalId: string | null;
    currency: string;
    day: string | null;
    capMicros: bigint;
    spentMicros: bigint;
  }>(
    `select advertiser.id as "advertiserId", advertiser.name as "advertiserName", campaign.name as "campaignName", external_id as "externalId", currency,
       campaign_day.day::text, coalesce(campaign_day.cap_micros, campaign.cap_micros) as "capMicros",
       coalesce(campaign_day.spent_micros, campaign.spent_micros) as "spentMicros"
     from campaign join advertiser on advertiser.id = campaign.advertiser_id
     left join campaign_day on $2 = 'daily' and campaign_id = campaign.id and day = daily_cap_reached_on
     where campaign.id = $1`,
    [campaignId, cap],
  );
  const { capMicros, spentMicros, day, currency, campaignName, externalId, ...advertiser } = singleRow(rows);
  const amounts = { amount: formatAmount(capMicros), spent: formatAmount(spentMicros) };
  const data = { ...advertiser, campaignId, campaignName, externalId, currency, cap, day, ...amounts };
  await emit(connection, { type: 'campaign.cap_reached', advertiserId: advertiser.advertiserId, data });
}
