import { TollwayError } from './errors.ts';
import { printable } from './text.ts';

/** An area and a place, or UTC. Offsets such as `+01:00` are refused: PostgreSQL reads them with the opposite sign. */
const NAME = /^(UTC|[a-z_]+(\/[a-z0-9_+-]+)+)$/i;

/** Returns the IANA name of a time zone, such as `Europe/Berlin` or `UTC`, with its capital letters. Throws `bad_time_zone`. */
export function parseTimeZone(text: string): string {
  try {
    if (NAME.test(text)) {
      const { timeZone } = new Intl.DateTimeFormat('en', { timeZone: text }).resolvedOptions();
      // It can be another name of the zone: Asia/Calcutta for Asia/Kolkata.
      return timeZone.toLowerCase() === text.toLowerCase() ? timeZone : text;
    }
  } catch {} // unknown to the database of time zones
  throw new TollwayError(
    'bad_time_zone',
    `Expected the name of a time zone, such as Europe/Berlin or UTC, got "${printable(text)}"`,
  );
}
