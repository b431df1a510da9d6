import { phaseOf } from './charge-state.ts';
import type { Campaign } from './entities.ts';
import { addDays, timeOf, wallTimeOf } from './zone-time.ts';

/** The first instant of the next day in a time zone, as a time of the API. `nowMs`: Unix time. */
export function nextDayOf(zone: string, nowMs: number): string {
  const { day } = wallTimeOf(new Date(nowMs).toISOString(), zone);
  return timeOf({ day: addDays(day, 1), clock: '00:00' }, zone);
}

/** When a campaign goes on whose daily cap is reached: at `nextDay`, or `null` if it ends before. */
export function goesOnAt({ endsAt }: Pick<Campaign, 'endsAt'>, nextDay: string): string | null {
  return endsAt !== null && Date.parse(endsAt) <= Date.parse(nextDay) ? null : nextDay;
}

type Stopped = Pick<Campaign, 'endsAt' | 'exhausted' | 'hasActiveAd'>;

/** Why the next day does not make a campaign go on whose daily cap is reached; `null`: it goes on at `nextDay`. */
export function stopOf(campaign: Stopped, nextDay: string): 'noActiveAd' | 'exhausted' | 'ends' | null {
  if (!campaign.hasActiveAd) return 'noActiveAd';
  if (campaign.exhausted) return 'exhausted';
  return goesOnAt(campaign, nextDay) === null ? 'ends' : null;
}

type Capped = Pick<Campaign, 'status' | 'startsAt' | 'endsAt' | 'dailyCapReachedUntil'>;

/** The end of the day whose daily cap is reached, of a campaign that is active and runs; else `null`. */
export function dailyCapReachedUntil(campaign: Capped, nowMs: number): string | null {
  const { status, dailyCapReachedUntil: until } = campaign;
  if (until === null || status !== 'active' || phaseOf(campaign, nowMs) !== 'running') return null;
  return nowMs < Date.parse(until) ? until : null;
}
