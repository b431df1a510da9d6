/** The periods that a report offers. */
export const PERIODS = ['today', 'week', 'month', 'previous', 'custom'] as const;
export type Period = (typeof PERIODS)[number];

/** Days `YYYY-MM-DD`; `until` is exclusive. */
export type Days = { readonly since: string; readonly until: string };

const DAYS_MAX = 366;

/** The days of a period that ends with the day that it is now in a time zone. */
export function daysOf(period: Exclude<Period, 'custom'>, now: Date, timeZone: string): Days {
  const today = dayIn(now, timeZone);
  const tomorrow = addDays(today, 1);
  switch (period) {
    case 'today':
      return { since: today, until: tomorrow };
    case 'week':
      return { since: addDays(today, -6), until: tomorrow };
    case 'month':
      return { since: `${today.slice(0, 7)}-01`, until: tomorrow };
    case 'previous': {
      const until = `${today.slice(0, 7)}-01`;
      return { since: `${addDays(until, -1).slice(0, 7)}-01`, until };
    }
    default:
      return period satisfies never;
  }
}

/** The calendar day in a time zone. The locale `sv` writes dates as ISO 8601 does. */
export function dayIn(now: Date, timeZone: string): string {
  return new Intl.DateTimeFormat('sv', { timeZone }).format(now);
}

export function addDays(day: string, days: number): string {
  const date = new Date(`${day}T00:00:00Z`);
  date.setUTCDate(date.getUTCDate() + days);
  return date.toISOString().slice(0, 10);
}

/** The name of the file of a report, by its first and last day. */
export const csvNameOf = ({ since, until }: Days) => `report-${since}-${addDays(until, -1)}.csv`;

/** Whether hours of this many days can still be told apart in a chart. */
export function countDays({ since, until }: Days): number {
  const days = (Date.parse(until) - Date.parse(since)) / 86_400_000;
  return Math.min(DAYS_MAX, Math.max(0, Math.round(days)));
}
