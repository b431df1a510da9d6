/** What a clock on the wall of a time zone shows: `2026-01-31` and `14:30`. */
export type WallTime = { readonly day: string; readonly clock: string };

const MINUTE_MS = 60_000;

/** The wall time of a time of the API, in a time zone, cut to the minute. */
export function wallTimeOf(time: string, zone: string): WallTime {
  // Swedish writes dates as ISO 8601 does.
  const text = new Intl.DateTimeFormat('sv-SE', {
    timeZone: zone,
    dateStyle: 'short',
    timeStyle: 'short',
    calendar: 'gregory',
    numberingSystem: 'latn',
  }).format(new Date(time));
  return { day: text.slice(0, 10), clock: text.slice(-5) };
}

/**
 * The time of the API of a wall time. In the hour that a zone skips, the time after it; in the hour that it repeats, the first one. Throws a
 * `RangeError` for a day or a clock that does not exist.
 */
export function timeOf({ day, clock }: WallTime, zone: string): string {
  const asUtc = Date.parse(`${day}T${clock}:00Z`);
  const offsetAt = (ms: number) => {
    const shown = wallTimeOf(new Date(ms).toISOString(), zone);
    return Date.parse(`${shown.day}T${shown.clock}:00Z`) - Math.floor(ms / MINUTE_MS) * MINUTE_MS;
  };
  // The offsets of a day before and after: between them is at most one change.
  const offsets = [offsetAt(asUtc - 86_400_000), offsetAt(asUtc + 86_400_000)];
  const times = offsets.map((offset) => asUtc - offset);
  const exact = times.filter((ms) => offsetAt(ms) === asUtc - ms);
  return new Date(exact.length > 0 ? Math.min(...exact) : Math.max(...times)).toISOString();
}

/** The calendar day that is `days` later. */
export function addDays(day: string, days: number): string {
  return new Date(Date.parse(`${day}T00:00:00Z`) + days * 86_400_000).toISOString().slice(0, 10);
}
