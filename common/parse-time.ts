import { TollwayError } from './errors.ts';
import { printable } from './text.ts';
import { isCalendarDate, isTimeInRange } from './unix-time.ts';

const UNIT_MS = { s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const;

/** Reads a length of time such as `10s`, `15m`, `12h` or `30d` into ms. Throws `bad_duration`. */
export function parseDuration(text: string): number {
  const [, count, unit] = /^(\d{1,6})([smhd])$/.exec(text) ?? [];
  if (count === undefined || Number(count) === 0) {
    throw new TollwayError(
      'bad_duration',
      `Expected a length of time such as 10s, 15m, 12h or 30d, got "${text}"`,
    );
  }
  // The pattern allows only these four units.
  return Number(count) * UNIT_MS[unit as keyof typeof UNIT_MS];
}

/** Throws `bad_time` for a time outside of the years 1970 to 9999 of UTC. `text` is what was given. */
export function assertTimeInRange(time: Date, text: string): void {
  if (isTimeInRange(time)) return;
  throw new TollwayError(
    'bad_time',
    `Expected a time in the years 1970 to 9999 of UTC, got "${printable(text)}"`,
  );
}

/** A day alone, or a time with its zone: without a zone the time would depend on the zone of the host. */
const TIME = /^\d{4}-\d{2}-\d{2}(?:[T ]\d{2}:\d{2}(?::\d{2}(?:\.\d+)?)?(?:Z|[+-]\d{2}:?\d{2}))?$/i;

/**
 * Reads a time: a day (`2026-01-31`, its beginning in UTC), ISO 8601 with its zone (`2026-01-31T12:00:00Z`), or a length of time ago (`2h`, `7d`).
 * The years are 1970 to 9999 of UTC. Throws `bad_time`, `bad_duration`.
 */
export function parseTime(text: string): Date {
  const time = parseAnyTime(text);
  assertTimeInRange(time, text);
  return time;
}

function parseAnyTime(text: string): Date {
  if (/^\d{1,6}[smhd]$/.test(text)) return new Date(Date.now() - parseDuration(text));
  if (/^\d{4}-\d{2}-\d{2}/.test(text) && !isCalendarDate(text))
    throw new TollwayError('bad_time', `Expected a day of the calendar, got "${printable(text)}"`);
  const time = TIME.test(text) ? new Date(text) : new Date(Number.NaN);
  if (Number.isNaN(time.getTime())) {
    throw new TollwayError(
      'bad_time',
      `Expected a time such as 2026-01-31 (UTC) or 2026-01-31T12:00:00Z, or a length of time ago such as 2h or 7d, got "${printable(text)}"`,
    );
  }
  return time;
}

/**
 * Reads the start or the end of a campaign: a day stays a text, because it begins at midnight of the advertiser's time zone; a time becomes
 * a `Date`. Throws `bad_time`.
 */
export function parseCampaignTime(text: string): Date | string {
  if (/^\d{1,6}[smhd]$/.test(text))
    throw new TollwayError(
      'bad_time',
      `Expected a day such as 2026-01-31 or a time such as 2026-01-31T12:00:00Z, got "${text}"`,
    );
  const time = parseTime(text);
  return /^\d{4}-\d{2}-\d{2}$/.test(text) ? text : time;
}

/**
 * Reads when a key expires: a length of time from now (`90d`), a day (its beginning in UTC) or a time with its zone. Throws `bad_time`,
 * `bad_duration`.
 */
export function parseExpiry(text: string): Date {
  if (/^\d{1,6}[smhd]$/.test(text)) return new Date(Date.now() + parseDuration(text));
  if (/^\d{4}-/.test(text)) return parseTime(text);
  throw new TollwayError(
    'bad_time',
    `Expected a time from now such as 90d, or a time such as 2026-01-31 (UTC) or 2026-01-31T12:00:00Z, got "${printable(text)}"`,
  );
}
