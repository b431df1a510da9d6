import type { QueryValues } from '../../api.ts';
import { addDays, timeOf } from '../../zone-time.ts';

/** The filters of the list of clicks, as the address of the page has them; '' for those that do not limit it. */
export type ClickFilter = {
  readonly advertiserId: string;
  readonly publisher: string;
  readonly adId: string;
  readonly outcome: string;
  /** A calendar day, and two times of it. */
  readonly day: string;
  readonly from: string;
  readonly to: string;
};

/** The query of the API. `zone`: the time zone of the day. `null` for a day or a time that is half filled in. */
export function clickQueryOf({ day, from, to, ...rest }: ClickFilter, zone: string): QueryValues | null {
  try {
    const since = timeOf({ day, clock: from || '00:00' }, zone);
    const until =
      to === '' ? timeOf({ day: addDays(day, 1), clock: '00:00' }, zone) : timeOf({ day, clock: to }, zone);
    return { ...rest, since, until };
  } catch {
    return null;
  }
}
