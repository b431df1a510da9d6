import { TollwayError } from './errors.ts';
import { printable } from './text.ts';

/** An area and a place, or UTC. Offsets such as `+01:00` are refused: PostgreSQL reads them with the opposite sign. */
const NAME = /^(UTC|[A-Za-z_]+(\/[A-Za-z0-9_+-]+)+)$/;

/** Checks the IANA name of a time zone, such as `Europe/Berlin` or `UTC`, and returns it. Throws `bad_time_zone`. */
export function parseTimeZone(text: string): string {
  try {
    if (NAME.test(text)) return new Intl.DateTimeFormat('en', { timeZone: text }).format() && text;
  } catch {} // unknown to the database of time zones
  throw new TollwayError(
    'bad_time_zone',
    `Expected the name of a time zone, such as Europe/Berlin or UTC, got "${printable(text)}"`,
  );
}
