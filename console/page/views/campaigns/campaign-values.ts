import { fieldError } from '../../api.ts';
import type { Campaign } from '../../entities.ts';
import { texts } from '../../texts.ts';
import { addDays, timeOf, wallTimeOf } from '../../zone-time.ts';

/** The fields of the form of a campaign. Empty text: none. */
export type CampaignValues = {
  readonly name: string;
  readonly externalId: string;
  readonly cap: string;
  readonly dailyCap: string;
  readonly pacing: Campaign['pacing'];
  readonly hold: boolean;
  /** The first day and the time on it; without a time the beginning of the day. */
  readonly firstDay: string;
  readonly firstClock: string;
  /** The last day and the time on it; without a time the whole day. */
  readonly lastDay: string;
  readonly lastClock: string;
  readonly fallbackUrl: string;
};

export const NEW_CAMPAIGN: CampaignValues = {
  ...{ name: '', externalId: '', cap: '', dailyCap: '', pacing: 'none', hold: false },
  ...{ firstDay: '', firstClock: '', lastDay: '', lastClock: '', fallbackUrl: '' },
};

const MIDNIGHT = '00:00';

/** The fields of a campaign. Days and times are those of the time zone of its advertiser. */
export function valuesOf(campaign: Campaign): CampaignValues {
  const zone = campaign.timeZone;
  const { name, externalId, cap, dailyCap, pacing, hold, startsAt, endsAt, fallbackUrl } = campaign;
  const first = startsAt === null ? { day: '', clock: '' } : wallTimeOf(startsAt, zone);
  const end = endsAt === null ? { day: '', clock: '' } : wallTimeOf(endsAt, zone);
  const isWholeDay = end.clock === MIDNIGHT;
  return {
    ...{ name, pacing, hold, cap: cap ?? '', dailyCap: dailyCap ?? '' },
    ...{ externalId: externalId ?? '', fallbackUrl: fallbackUrl ?? '' },
    ...{ firstDay: first.day, firstClock: first.clock === MIDNIGHT ? '' : first.clock },
    ...{ lastDay: isWholeDay ? addDays(end.day, -1) : end.day, lastClock: isWholeDay ? '' : end.clock },
  };
}

/** The fields that the API knows, with `null` for none. */
export type CampaignBody = Readonly<Record<string, string | boolean | null>>;

/**
 * The body of a request with these fields. Days and times are those of the time zone of the advertiser. Throws an `ApiError` for a time without
 * a day.
 */
export function bodyOf(values: CampaignValues, zone: string): CampaignBody {
  const { name, externalId, cap, dailyCap, pacing, hold, fallbackUrl } = values;
  const { firstDay, firstClock, lastDay, lastClock } = values;
  const { dayMissing } = texts.campaigns.fields;
  if (firstClock && !firstDay) throw fieldError('startsAt', dayMissing);
  if (lastClock && !lastDay) throw fieldError('endsAt', dayMissing);
  const orNull = (text: string) => text.trim() || null;
  const startsAt = firstDay && timeOf({ day: firstDay, clock: firstClock || MIDNIGHT }, zone);
  const endsAt =
    lastDay &&
    timeOf(
      lastClock ? { day: lastDay, clock: lastClock } : { day: addDays(lastDay, 1), clock: MIDNIGHT },
      zone,
    );
  return {
    ...{ name, externalId: orNull(externalId), cap: orNull(cap), dailyCap: orNull(dailyCap) },
    ...{ pacing, hold: pacing !== 'none' && hold },
    ...{ startsAt: startsAt || null, endsAt: endsAt || null, fallbackUrl: orNull(fallbackUrl) },
  };
}
