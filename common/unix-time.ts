/** Length of a day, in ms. */
export const DAY_MS = 86_400_000;

/** Unix seconds from 1973 to 2286. Read as ms, these numbers would lie in the first four months of 1970. */
const SECONDS_MIN = 1e8;
const SECONDS_MAX = 1e10;
/** Unix ms from 2001 on. A number between the two ranges is refused. */
const MS_MIN = 1e12;
/** The highest time that a UUIDv7 can carry, in ms. */
const MS_MAX = 2 ** 48 - 1;
/**
 * RFC 3339 §5.6 with the variants that it allows (a space for the T, lower case), and with the shorter offsets that PostgreSQL (`+00`)
 * and strftime (`+0000`) write. A time without an offset is refused: it would mean another instant on a host in another time zone.
 */
const TIME = /^(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d:\d\d)(\.\d{1,9})?(?:[Zz]|([+-]\d\d):?(\d\d)?)$/;
const NUMBER = /^\d{1,16}(?:\.\d{1,9})?$/;

/**
 * Parses a time into Unix ms: Unix seconds (1973 to 2286, with or without a fraction) or ms (from 2001 on), as a number or a text, or RFC
 * 3339 with an offset. Returns a whole number of 0…2^48 − 1, or `null` for anything else, such as a time without an offset, 31 February
 * or microseconds. All readers of files use this function, so a click has the same time whichever reads it.
 */
export function unixMs(time: unknown): number | null {
  if (typeof time === 'number') return fromNumber(time);
  if (typeof time !== 'string') return null;
  if (NUMBER.test(time)) return fromNumber(Number(time));
  const [, date = '', clock, fraction = '', hours, minutes = '00'] = TIME.exec(time) ?? [];
  if (!isCalendarDate(date)) return null;
  const ms = Date.parse(`${date}T${clock}${fraction}${hours === undefined ? 'Z' : `${hours}:${minutes}`}`);
  return ms >= 0 && ms <= MS_MAX ? ms : null;
}

function fromNumber(time: number): number | null {
  if (time >= SECONDS_MIN && time < SECONDS_MAX) return Math.round(time * 1_000);
  return time >= MS_MIN && time <= MS_MAX ? Math.round(time) : null;
}

const YEAR_10000_MS = Date.UTC(10_000, 0);

/**
 * Whether a time is in the years 1970 to 9999 of UTC. People and programs cannot give other times: RFC 3339 cannot write years after 9999, and
 * `Date` misreads the first years as PostgreSQL writes them.
 */
export function isTimeInRange(time: Date): boolean {
  return time.getTime() >= 0 && time.getTime() < YEAR_10000_MS;
}

/** Whether a text begins with a `YYYY-MM-DD` date that exists. `Date` reads 31 February as 3 March; PostgreSQL has no year 0. */
export function isCalendarDate(text: string): boolean {
  const [, year, month, day] = /^(\d{4})-(\d{2})-(\d{2})/.exec(text) ?? [];
  if (day === undefined || Number(year) === 0) return false;
  const date = new Date(Date.UTC(Number(year), Number(month) - 1, Number(day)));
  return date.getUTCMonth() === Number(month) - 1 && date.getUTCDate() === Number(day);
}
