/** Unix seconds from 1973 to 2286; in ms these would be in the first four months of 1970. */
const SECONDS_MIN = 1e8;
const SECONDS_MAX = 1e10;
/** Unix ms from 2001 on; what lies between is neither. */
const MS_MIN = 1e12;
/** The highest time that a UUIDv7 can carry, in ms. */
const MS_MAX = 2 ** 48 - 1;
/**
 * RFC 3339 §5.6, with the freedoms that it allows (a space for the T, lower case), and with the shorter zones that PostgreSQL (`+00`)
 * and strftime (`+0000`) write. A time without its zone is none: it would be another instant wherever another zone is in use.
 */
const TIME = /^(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d:\d\d)(\.\d{1,9})?(?:[Zz]|([+-]\d\d):?(\d\d)?)$/;
const NUMBER = /^\d{1,16}(?:\.\d{1,9})?$/;

/**
 * The Unix ms of a time as tools write it: Unix seconds (from 1973 to 2286, with or without a fraction) or ms (from 2001 on), as a
 * number or a text, or RFC 3339 with its zone. Answers a whole number of 0…2^48 − 1, or `null` for all else, such as a
 * time without its zone, 31 February, or microseconds. Every reader of files uses this one, so that all give the same click the same time.
 */
export function unixMs(time: unknown): number | null {
  if (typeof time === 'number') return ofNumber(time);
  if (typeof time !== 'string') return null;
  if (NUMBER.test(time)) return ofNumber(Number(time));
  const [, date = '', clock, fraction = '', hours, minutes = '00'] = TIME.exec(time) ?? [];
  // `Date.parse` takes 31 February for 3 March.
  if (date === '' || !isDate(date)) return null;
  const ms = Date.parse(`${date}T${clock}${fraction}${hours === undefined ? 'Z' : `${hours}:${minutes}`}`);
  return ms >= 0 && ms <= MS_MAX ? ms : null;
}

function ofNumber(time: number): number | null {
  if (time >= SECONDS_MIN && time < SECONDS_MAX) return Math.round(time * 1_000);
  return time >= MS_MIN && time <= MS_MAX ? Math.round(time) : null;
}

function isDate(text: string): boolean {
  const date = new Date(`${text}T00:00:00Z`);
  return !Number.isNaN(date.getTime()) && date.toISOString().startsWith(text);
}
