import { TollwayError } from '../../common/errors.ts';
import { formatAmount } from '../../common/money.ts';
import type { Connection, Pool } from '../../common/postgres/postgres.ts';
import { prepared } from '../../common/postgres/prepared.ts';
import { singleRow } from '../../common/postgres/single-row.ts';
import { parseExternalId } from '../../common/text.ts';
import { withAdvertiserLock } from '../advertiser-lock.ts';
import { assertFilterExists } from '../click-filter.ts';
import { type ListFilter, listCondition } from '../list-filter.ts';
import { inServerTimeZone } from '../server-time-zones.ts';
import { notifyAdsChanged, updateBudgetFlags } from './budget-flag.ts';
import { moveCampaignPhases, setFirstPhase } from './campaign-phases.ts';
import {
  type CampaignChanges,
  type CampaignSettings,
  DEFAULT_SETTINGS,
  haveSameSettings,
  settingsAfter,
} from './campaign-settings.ts';
import { readCampaignSpend } from './campaign-spend.ts';
import { changeDailyCap } from './change-daily-cap.ts';
import { type Pace, PLAN_JSON, type Plan, paceAt, todayOfCampaign } from './pacing.ts';

/** A limit that no ad of a campaign may cost more than: whole, or what is left of it. In the order in which they are reported. */
export const PRICE_LIMITS = ['cap', 'daily_cap', 'budget_left', 'cap_left'] as const;
export type PriceLimit = (typeof PRICE_LIMITS)[number];

export type Campaign = CampaignSettings & {
  readonly id: number;
  readonly advertiserId: number;
  readonly advertiserName: string;
  /** Of the advertiser. */
  readonly currency: string;
  /** Of the advertiser: days of caps and dates begin at its midnight. */
  readonly timeZone: string;
  /** The sum of its charges, counted only with a cap; otherwise 0. */
  readonly spentMicros: bigint;
  /** What the present day has spent, in the advertiser's time zone; `null` without a daily cap, and if the server does not know the zone. */
  readonly spentTodayMicros: bigint | null;
  /** The end of the present day, if what is left of its daily cap pays for none of the active ads; else `null`. */
  readonly dailyCapReachedUntil: Date | null;
  /**
   * Whether there are active ads, and each costs more than what is left of the budget of the advertiser or of the cap, or than the daily cap of a
   * whole day: a new day does not change that.
   */
  readonly isExhausted: boolean;
  readonly hasActiveAd: boolean;
  /** The limit that is below the price of each active ad, so that no click can be charged; `null`: none, or there is no active ad. */
  readonly priceAbove: PriceLimit | null;
  /** `null` without pacing. */
  readonly pace: Pace | null;
};

/** Whether a limit is below the price of each active ad; not without a limit. It stops at the first ad that the limit pays for. */
function isBelowPrices(limit: string): string {
  return `${limit} is not null and not exists (
        select from ad where campaign_id = campaign.id and status = 'active' and price_micros <= ${limit}
      )`;
}

/** A query of campaigns. `rows`: the clauses that choose them. The present day is looked up for these alone. */
const selectCampaigns = (rows: string) => `select campaign.id, campaign.advertiser_id as "advertiserId",
    campaign.advertiser_name as "advertiserName", campaign.currency, campaign.time_zone as "timeZone", campaign.name, campaign.external_id as "externalId", campaign.status,
    campaign.cap_micros as "capMicros", campaign.spent_micros as "spentMicros",
    campaign.starts_at as "startsAt", campaign.ends_at as "endsAt", campaign.fallback_url as "fallbackUrl",
    campaign.daily_cap_micros as "dailyCapMicros", campaign.pacing, campaign.hold, today.spent_micros as "spentTodayMicros",
    case when campaign.daily_cap_reached_on = today.day then today.ends_at end as "dailyCapReachedUntil",
    ads.has_active as "hasActiveAd", ads.has_active and not exists (
      select from ad where campaign_id = campaign.id and status = 'active' and exhausted_until is distinct from 'infinity'
    ) as "isExhausted",
    case when not ads.has_active then null
      when ${isBelowPrices('campaign.cap_micros')} then 'cap'
      when ${isBelowPrices('campaign.daily_cap_micros')} then 'daily_cap'
      when ${isBelowPrices('campaign.remaining_micros')} then 'budget_left'
      when ${isBelowPrices('campaign.cap_micros - campaign.spent_micros')} then 'cap_left'
    end as "priceAbove",
    ${PLAN_JSON} as plan, now() as "readAt"
  from (
    select campaign.*, advertiser.name as advertiser_name, advertiser.currency, advertiser.time_zone, advertiser.remaining_micros
    from campaign join advertiser on advertiser.id = campaign.advertiser_id ${rows}
  ) campaign left join lateral (${todayOfCampaign()}) today on true cross join lateral (
    select exists (select from ad where campaign_id = campaign.id and status = 'active') as has_active
  ) ads order by campaign.id`;

type CampaignRow = Omit<Campaign, 'pace'> & { readonly plan: Plan | null; readonly readAt: Date };

function toCampaign({ plan, readAt, ...campaign }: CampaignRow): Campaign {
  return { ...campaign, pace: plan === null ? null : paceAt(plan, readAt.getTime()) };
}

/**
 * Creates a campaign. Throws `bad_name`, `bad_external_id`, `external_id_taken`, `unknown_advertiser`, `bad_time`, `bad_window` (an end that is not
 * after the start), `bad_pacing`, and `bad_time_zone` for a daily cap or a day in a time zone that the database server does not know.
 */
export function addCampaign(
  database: Pool | Connection,
  advertiserId: number,
  name: string,
  settings: Omit<CampaignChanges, 'name'> = {},
): Promise<Campaign> {
  return withAdvertiserLock(database, advertiserId, (connection) =>
    insertCampaign(connection, advertiserId, { ...settings, name }),
  );
}

async function insertCampaign(
  connection: Connection,
  advertiserId: number,
  changes: CampaignChanges,
): Promise<Campaign> {
  const created = { ...DEFAULT_SETTINGS, name: '', id: null, advertiserId };
  const added = await settingsAfter(connection, created, changes);
  // In one statement, so that the audit log has one entry.
  const insert = connection.query<{ id: number }>(
    `insert into campaign (advertiser_id, name, status, cap_micros, starts_at, ends_at, fallback_url, pacing, hold, external_id,
       daily_cap_micros, daily_cap_since)
     select id, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11::bigint,
       case when $11::bigint is not null then (clock_timestamp() at time zone time_zone)::date end
     from advertiser where id = $1 returning id`,
    [
      ...[advertiserId, added.name, added.status, added.capMicros, added.startsAt, added.endsAt],
      ...[added.fallbackUrl, added.pacing, added.hold, added.externalId, added.dailyCapMicros],
    ],
  );
  const { id } = singleRow((await inServerTimeZone(insert)).rows);
  await setFirstPhase(connection, id);
  return readCampaign(connection, id);
}

/** The settings of `putCampaign`. Absent ones are those of a new campaign: none, `active` and no pacing. */
export type PutSettings = Omit<CampaignChanges, 'name' | 'externalId'> & { readonly name: string };

/**
 * Creates the campaign of an advertiser with an external id, or replaces all its settings: those that are absent become those of a new
 * campaign. A repetition changes nothing. Throws as `addCampaign` and `updateCampaign`.
 */
export async function putCampaign(
  database: Pool | Connection,
  advertiserId: number,
  externalId: string,
  settings: PutSettings,
): Promise<{ campaign: Campaign; result: 'created' | 'changed' | 'unchanged' }> {
  const changes = { ...DEFAULT_SETTINGS, ...settings, externalId: parseExternalId(externalId) };
  return withAdvertiserLock(database, advertiserId, async (connection) => {
    const before = await findCampaign(connection, advertiserId, changes.externalId);
    if (before === null)
      return { campaign: await insertCampaign(connection, advertiserId, changes), result: 'created' };
    if (haveSameSettings(before, await settingsAfter(connection, before, changes)))
      return { campaign: before, result: 'unchanged' };
    return { campaign: await updateCampaign(connection, before.id, changes), result: 'changed' };
  });
}

/** Returns the campaign of an advertiser with an external id, or `null`. Throws `bad_external_id`. */
export async function findCampaign(
  database: Pool | Connection,
  advertiserId: number,
  externalId: string,
): Promise<Campaign | null> {
  const { rows } = await database.query<CampaignRow>(
    selectCampaigns('where campaign.advertiser_id = $1 and campaign.external_id = $2'),
    [advertiserId, parseExternalId(externalId)],
  );
  const [campaign] = rows;
  return campaign === undefined ? null : toCampaign(campaign);
}

/** Returns the campaigns of a filter, ordered by id. Throws `unknown_advertiser`, `unknown_campaign`. */
export async function listCampaigns(
  database: Pool | Connection,
  filter: ListFilter = {},
): Promise<Campaign[]> {
  await assertFilterExists(database, filter);
  const { condition, page, values } = listCondition(['campaign', 'advertiser'], filter);
  const { rows } = await database.query<CampaignRow>(
    prepared(selectCampaigns(`where ${condition} ${page}`), values),
  );
  return rows.map(toCampaign);
}

/** Returns a campaign. Throws `unknown_campaign`. */
export async function readCampaign(database: Pool | Connection, id: number): Promise<Campaign> {
  // A named statement, because planning it takes longer than running it.
  const query = { name: 'read campaign', text: selectCampaigns('where campaign.id = $1'), values: [id] };
  const { rows } = await database.query<CampaignRow>(query);
  const [campaign] = rows;
  if (!campaign) throw unknownCampaign(id);
  return toCampaign(campaign);
}

/** The error `unknown_campaign`. */
export function unknownCampaign(id: number): TollwayError {
  return new TollwayError('unknown_campaign', `Expected the id of a campaign in the database, got ${id}`);
}

/**
 * Changes a campaign. A cap can be set, raised, and lowered down to what is spent; a daily cap down to what the present day has spent.
 * Throws `unknown_campaign`, `bad_name`, `bad_external_id`, `external_id_taken`, `cap_below_spent`, `bad_time`, `bad_window` (an end that
 * is not after the start), `bad_pacing`, and `bad_time_zone` for another daily cap or a day in a time zone that the database server does
 * not know.
 */
export async function updateCampaign(
  database: Pool | Connection,
  id: number,
  changes: CampaignChanges,
): Promise<Campaign> {
  const { advertiserId } = await readCampaign(database, id);
  return withAdvertiserLock(database, advertiserId, async (connection) => {
    const campaign = await changeCampaign(connection, id, changes);
    await moveCampaignPhases(connection, advertiserId);
    await updateBudgetFlags(connection, [advertiserId]);
    await notifyAdsChanged(connection, advertiserId);
    return campaign;
  });
}

async function changeCampaign(
  connection: Connection,
  id: number,
  changes: CampaignChanges,
): Promise<Campaign> {
  const before = await readCampaign(connection, id);
  const after = await settingsAfter(connection, before, changes);
  const spentMicros = await spentUnder(connection, before, after.capMicros);
  const isSameCap = after.dailyCapMicros === before.dailyCapMicros;
  const today = isSameCap ? null : await changeDailyCap(connection, id, after.dailyCapMicros);
  // In one statement, so that the audit log has one entry.
  await connection.query(
    `update campaign set name = $2, status = $3, cap_micros = $4, spent_micros = $5, starts_at = $6, ends_at = $7, fallback_url = $8,
       pacing = $9, hold = $10, daily_cap_micros = $11::bigint,
       daily_cap_since = coalesce(daily_cap_since, case when $11::bigint is not null then $12::date end), external_id = $13
     where id = $1`,
    [
      ...[id, after.name, after.status, after.capMicros, spentMicros, after.startsAt, after.endsAt],
      ...[after.fallbackUrl, after.pacing, after.hold, after.dailyCapMicros, today, after.externalId],
    ],
  );
  return readCampaign(connection, id);
}

/** What the campaign counts as spent under a cap: 0 without one. Throws `cap_below_spent` if the cap is less than what is spent. */
async function spentUnder(
  connection: Connection,
  before: Campaign,
  capMicros: bigint | null,
): Promise<bigint> {
  if (capMicros === null) return 0n;
  const spentMicros =
    before.capMicros === null ? await readCampaignSpend(connection, before.id) : before.spentMicros;
  if (capMicros >= spentMicros) return spentMicros;
  const least = `${formatAmount(spentMicros)} ${before.currency}`;
  throw new TollwayError(
    'cap_below_spent',
    `Expected a cap of at least ${least}, which campaign ${before.id} has spent; got ${formatAmount(capMicros)}`,
    { field: 'cap' },
  );
}
