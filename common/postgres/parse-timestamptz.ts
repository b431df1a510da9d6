/**
 * Parses a `timestamptz` as a session in any time zone writes it. Where a zone had local mean time (Liberia until 1972), the offset has
 * seconds, such as `-00:44:30`, which `Date` refuses. Connections do not ask the server for UTC instead: PgBouncer before 1.20 refuses the
 * startup parameter `options`, and `options` in `DATABASE_URL` replaces it.
 */
export function parseTimestamptz(text: string): Date {
  const [, time, sign, seconds] = /^(.+([+-])\d\d:\d\d):(\d\d)$/.exec(text) ?? [];
  if (time === undefined) return new Date(text);
  return new Date(Date.parse(time) - Number(`${sign}${seconds}`) * 1_000);
}
