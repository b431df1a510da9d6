import * as z from 'zod';
import { defined } from '../../../common/defined.ts';
import type { CampaignChanges as Changes } from '../../../ledger/accounts/campaign-settings.ts';
import { type Campaign as CampaignRow, PRICE_LIMITS } from '../../../ledger/accounts/campaigns.ts';
import { PACINGS } from '../../../ledger/accounts/daily-plan.ts';
import { roundPace } from '../../../ledger/accounts/pacing.ts';
import {
  Amount,
  Currency,
  DayOrTime,
  ExternalId,
  Id,
  Name,
  PositiveAmount,
  Status,
  Time,
  TimeZone,
  UrlTemplate,
} from '../schemas.ts';

const Pacing = z.enum(PACINGS).meta({
  description:
    'How the daily cap is spent: `none` without a plan, `even` evenly over the day, `rest` evenly over the rest of the day from each hour on.',
});
const HOLD = 'Whether visitors go to the fallback URL while the campaign is ahead of its plan.';

const Share = z.number().min(0);

const Pace = z
  .strictObject({
    planned: Share.meta({ description: 'Share of the daily cap that may be spent by now.', examples: [0.5] }),
    spent: Share.meta({ description: 'Share that is spent.', examples: [0.4321] }),
    isAhead: z.boolean(),
    aheadUntil: Time.nullable(),
  })
  .meta({ id: 'Pace' });

export const Campaign = z
  .strictObject({
    id: Id,
    externalId: z
      .string()
      .nullable()
      .meta({
        description: 'The id that another system gave it. Unique for the advertiser.',
        examples: ['crm-4711'],
      }),
    advertiserId: Id,
    advertiserName: z.string().meta({ examples: ['Blue Shoes'] }),
    currency: Currency,
    timeZone: TimeZone.meta({ description: 'Of the advertiser: days begin at its midnight.' }),
    name: z.string().meta({ examples: ['Summer'] }),
    status: Status,
    cap: Amount.nullable().meta({ description: 'The most that all clicks together may cost.' }),
    spent: Amount.nullable().meta({ description: 'Sum of the charges. Credits do not lower it.' }),
    dailyCap: Amount.nullable().meta({ description: 'The most that the clicks of a day may cost.' }),
    spentToday: Amount.nullable().meta({
      description:
        'What the present day has spent, with a daily cap; `null` too while the database server does not know the time zone.',
    }),
    dailyCapReachedUntil: Time.nullable().meta({
      description:
        'The end of the present day if what is left of the daily cap pays for none of the active ads; else `null`. Clicks are then charged again unless the campaign is `exhausted`.',
    }),
    exhausted: z.boolean().meta({
      description:
        'Whether each active ad costs more than what is left of the budget of the advertiser or of the cap, or than the daily cap of a whole day. A new day does not change that.',
    }),
    hasActiveAd: z.boolean().meta({ description: 'Without an active ad, no click is charged.' }),
    priceAbove: z.enum(PRICE_LIMITS).nullable().meta({
      description:
        'The limit that is below the price of each active ad, so that no click can be charged: the cap, the daily cap of a whole day, or what is left of the budget of the advertiser or of the cap. `null`: none, or there is no active ad.',
    }),
    pacing: Pacing,
    hold: z.boolean().meta({ description: HOLD }),
    pace: Pace.nullable().meta({ description: '`null` without pacing.' }),
    startsAt: Time.nullable().meta({ description: 'Earlier clicks are not charged.' }),
    endsAt: Time.nullable().meta({ description: 'Clicks from this time on are not charged.' }),
    fallbackUrl: z.string().nullable(),
  })
  .meta({ id: 'Campaign', description: 'Group of ads of an advertiser.' });

const Day = 'A time, or a day, which begins at midnight of the time zone of the advertiser.';

/** The settings that a campaign can have besides its name. */
const settings = {
  status: Status.optional(),
  cap: PositiveAmount.nullish().meta({
    description: 'The most that all clicks together may cost, at least what is spent.',
  }),
  dailyCap: PositiveAmount.nullish().meta({
    description: 'The most that the clicks of a day may cost, at least what the present day has spent.',
  }),
  pacing: Pacing.optional(),
  hold: z
    .boolean()
    .optional()
    .meta({ description: `${HOLD} It needs pacing and a fallback URL.` }),
  startsAt: DayOrTime.nullish().meta({ description: `Earlier clicks are not charged. ${Day}` }),
  endsAt: DayOrTime.nullish().meta({ description: `Clicks from it on are not charged. ${Day}` }),
  fallbackUrl: UrlTemplate.nullish().meta({
    description: 'Destination of clicks while the budget or a cap is exhausted.',
  }),
};

export const NewCampaign = z
  .strictObject({ advertiserId: Id, name: Name, externalId: ExternalId.nullish(), ...settings })
  .meta({ id: 'NewCampaign' });

export const CampaignChanges = z
  .strictObject({ name: Name.optional(), externalId: ExternalId.nullish(), ...settings })
  .meta({ id: 'CampaignChanges', description: 'Absent fields keep their values; `null` removes one.' });

export const PutCampaign = z
  .strictObject({ name: Name, ...settings })
  .meta({ id: 'PutCampaign', description: 'All settings of the campaign. Absent fields are reset.' });

/** The settings of a body, in the terms of the ledger. Absent fields stay absent. */
export function toChanges({ cap, dailyCap, ...rest }: z.output<typeof CampaignChanges>): Changes {
  return defined({ ...rest, capMicros: cap, dailyCapMicros: dailyCap });
}

/** The representation of a campaign. `spentMicros`: what it has spent; by default the sum that is counted under a cap. */
export function toCampaign(
  row: CampaignRow,
  spentMicros: bigint | null = row.capMicros === null ? null : row.spentMicros,
): z.output<typeof Campaign> {
  const { id, externalId, advertiserId, advertiserName, currency, timeZone, name, status, pacing, hold } =
    row;
  const { startsAt, endsAt, fallbackUrl, capMicros, dailyCapMicros, spentTodayMicros, dailyCapReachedUntil } =
    row;
  const pace = row.pace && roundPace(row.pace);
  return {
    ...{ id, externalId, advertiserId, advertiserName, currency, timeZone, name, status },
    ...{ cap: capMicros, spent: spentMicros, dailyCap: dailyCapMicros, spentToday: spentTodayMicros },
    ...{ dailyCapReachedUntil, exhausted: row.isExhausted, hasActiveAd: row.hasActiveAd },
    ...{ priceAbove: row.priceAbove, pacing, hold },
    ...{ startsAt, endsAt, fallbackUrl },
    pace: pace && { ...pace, aheadUntil: pace.aheadUntil === null ? null : new Date(pace.aheadUntil) },
  };
}
