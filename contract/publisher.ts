import { TollwayError } from '../common/errors.ts';
import { printable } from '../common/text.ts';

/** Longest publisher of a link, in characters. */
export const PUBLISHER_MAX = 32;
const PUBLISHER = /^[A-Za-z0-9_-]{1,32}$/;

/** Whether a value is a publisher: the name of the site or partner that shows a link, 1–32 letters, digits, `-` and `_`. */
export function isPublisher(value: unknown): value is string {
  return typeof value === 'string' && PUBLISHER.test(value);
}

/** Returns `text` if it is a publisher. Throws `bad_publisher`. */
export function parsePublisher(text: string): string {
  if (PUBLISHER.test(text)) return text;
  throw new TollwayError(
    'bad_publisher',
    `Expected a publisher of 1–${PUBLISHER_MAX} letters, digits, - and _, got "${printable(text.slice(0, 100))}"`,
  );
}
