import { texts } from './texts.ts';

/** The viewer's languages, as the browser has them. */
const locale = navigator.languages?.[0] ?? 'en';

const memoized = <T>(make: (key: string) => T) => {
  const made = new Map<string, T>();
  return (key: string): T => {
    let value = made.get(key);
    if (value === undefined) {
      value = make(key);
      made.set(key, value);
    }
    return value;
  };
};

const plain = new Intl.NumberFormat(locale, { maximumFractionDigits: 0 });
const oneDecimal = new Intl.NumberFormat(locale, { maximumFractionDigits: 1 });
const compact = new Intl.NumberFormat(locale, { notation: 'compact', maximumFractionDigits: 1 });
const percent = new Intl.NumberFormat(locale, { style: 'percent', maximumFractionDigits: 1 });

/** A count: `1,234`. */
export const formatCount = (count: number): string => plain.format(count);
/** A rate or a length: one decimal below 10, else none. */
export const formatRate = (rate: number): string => (rate < 10 ? oneDecimal : plain).format(rate);
/** A count on an axis: `1.2K`. */
export const formatCompact = (count: number): string => compact.format(count);
/** A share of 0–1. */
export const formatPercent = (share: number): string => percent.format(share);

/** The decimals that amounts of a currency usually have: 2 for EUR, 0 for JPY. */
export const decimalsOf = (currency: string): number => digitsOf(currency).maximumFractionDigits;

function digitsOf(currency: string) {
  const { maximumFractionDigits: digits = 2 } = new Intl.NumberFormat(locale, {
    style: 'currency',
    currency,
  }).resolvedOptions();
  return { minimumFractionDigits: digits, maximumFractionDigits: digits };
}

const amountsOf = memoized(
  (currency) => new Intl.NumberFormat(locale, { ...digitsOf(currency), maximumFractionDigits: 6 }),
);

/** A decimal amount of the API, to its last digit, without the currency. `format` of a text is exact. */
export function formatAmount(amount: string, currency: string): string {
  // https://tc39.es/ecma402/#sec-tointlmathematicalvalue
  return amountsOf(currency).format(amount as Intl.StringNumericLiteral);
}

const roundedOf = memoized((currency) => new Intl.NumberFormat(locale, digitsOf(currency)));

/** An amount that is an estimate, such as a rate, rounded to the digits of its currency. */
export const formatEstimate = (amount: string, currency: string): string =>
  roundedOf(currency).format(amount as Intl.StringNumericLiteral);

const timesOf = memoized((zone) => {
  const options = { dateStyle: 'medium', timeStyle: 'medium', ...(zone && { timeZone: zone }) } as const;
  return new Intl.DateTimeFormat(locale, options);
});
const clocksOf = memoized(
  (zone) => new Intl.DateTimeFormat(locale, { timeStyle: 'medium', ...(zone && { timeZone: zone }) }),
);
const exactTimesOf = memoized((zone) => {
  const day = { year: 'numeric', month: 'short', day: 'numeric' } as const;
  const clock = { hour: 'numeric', minute: '2-digit', second: '2-digit', fractionalSecondDigits: 3 } as const;
  return new Intl.DateTimeFormat(locale, { ...day, ...clock, ...(zone && { timeZone: zone }) });
});
const daysOf = memoized(
  (zone) => new Intl.DateTimeFormat(locale, { dateStyle: 'medium', ...(zone && { timeZone: zone }) }),
);

/** A time with its date; in the viewer's time zone, or in `zone`. */
export const formatTime = (time: string, zone = ''): string => timesOf(zone).format(new Date(time));
/** The same with milliseconds. */
export const formatExactTime = (time: string, zone = ''): string => exactTimesOf(zone).format(new Date(time));
/** The time of the day alone. */
export const formatClock = (time: string, zone = ''): string => clocksOf(zone).format(new Date(time));
/** A date of a time. */
export const formatDate = (time: string, zone = ''): string => daysOf(zone).format(new Date(time));
/** A date of a time without its year, for the axis of a chart. */
export const formatShortDate = (time: string, zone = ''): string => shortDaysOf(zone).format(new Date(time));
/** A calendar date such as `2026-01-31`, which has no time zone. */
export const formatDay = (day: string): string => daysOf('UTC').format(new Date(`${day}T00:00:00Z`));

const shortDaysOf = memoized(
  (zone) =>
    new Intl.DateTimeFormat(locale, { month: 'short', day: 'numeric', ...(zone && { timeZone: zone }) }),
);
const monthsOf = memoized(
  () => new Intl.DateTimeFormat(locale, { month: 'long', year: 'numeric', timeZone: 'UTC' }),
);
/** A calendar month such as `2026-01`. */
export const formatMonth = (month: string): string => monthsOf('').format(new Date(`${month}-01T00:00:00Z`));

/** The time zone of the viewer. */
export const viewerZone = Intl.DateTimeFormat().resolvedOptions().timeZone;

/** A length of time in one unit: `12 s`, `5 min`, `3.5 h`, `2 days`. */
export function formatDuration(seconds: number): string {
  if (seconds < 60) return texts.units.seconds(formatRate(seconds));
  if (seconds < 3_600) return texts.units.minutes(formatRate(seconds / 60));
  if (seconds < 86_400) return texts.units.hours(formatRate(seconds / 3_600));
  return texts.units.days(formatRate(seconds / 86_400));
}

const BYTE_UNITS = ['B', 'kB', 'MB', 'GB', 'TB'];

/** A size: `1.2 MB`. */
export function formatBytes(bytes: number): string {
  let value = bytes;
  let unit = 0;
  for (; value >= 1_000 && unit < BYTE_UNITS.length - 1; unit++) value /= 1_000;
  return `${formatRate(value)} ${BYTE_UNITS[unit]}`;
}
