import { TollwayError } from './errors.ts';

/**
 * Control characters, separators of lines, halves of surrogate pairs, and characters without a shape of their own (marks of direction,
 * zero-width spaces, soft hyphens), but the two joiners that scripts and emoji need.
 */
const UNPRINTABLE = /[[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]--[\u200c\u200d]]/gv;
/** Joiners, and spaces that look like the common one: two references that differ in these look the same. */
const LOOKS_ALIKE = /[\u200c\u200d]|[[\p{Zs}]--[ ]]/v;
/** At least one character that can be seen. */
const VISIBLE = /[\p{L}\p{N}\p{P}\p{S}]/u;
const NAME_CHARS_MAX = 200;
const REFERENCE_CHARS_MAX = 200;

/**
 * A text from outside as a terminal may show it: what could move the cursor, change colours or hide text stands as its escape, such as
 * `\u001b`. One line comes out.
 */
export function printable(text: string): string {
  return text.replace(UNPRINTABLE, escapeOf);
}

/** The same, with line ends and tabs as they are. */
export function printableLines(text: string): string {
  return text.replace(UNPRINTABLE, (found) => (found === '\n' || found === '\t' ? found : escapeOf(found)));
}

/** A value as JSON that a terminal may show. It is the same value to every JSON parser. */
export function printableJson(value: unknown, space?: number): string {
  return printableLines(JSON.stringify(value, null, space));
}

function escapeOf(found: string): string {
  // Unit by unit, as JSON has it: characters beyond 16 bits are two.
  return Array.from({ length: found.length }, (_, at) => {
    return `\\u${found.charCodeAt(at).toString(16).padStart(4, '0')}`;
  }).join('');
}

/** Reads the name of an advertiser or a campaign: 1–200 printable characters, without spaces around them. Throws `bad_name`. */
export function parseName(text: string): string {
  return parseLine(text, 'bad_name', 'a name', NAME_CHARS_MAX);
}

/**
 * Reads the reference of a budget entry: 1–200 printable characters, without spaces around them. Those that begin with "credit " are
 * given by Tollway to the credits of clicks. Throws `bad_reference`.
 */
export function parseReference(text: string): string {
  const reference = parseLine(text.normalize('NFC'), 'bad_reference', 'a reference', REFERENCE_CHARS_MAX);
  const alike = LOOKS_ALIKE.exec(reference)?.[0];
  if (alike !== undefined) {
    throw new TollwayError(
      'bad_reference',
      `Expected a reference with common spaces and without joiners, got "${reference.replace(alike, escapeOf(alike))}"`,
    );
  }
  if (!/^credit /i.test(reference)) return reference;
  throw new TollwayError(
    'bad_reference',
    `Expected a reference that does not begin with "credit " (those name credits of clicks), got "${reference}"`,
  );
}

function parseLine(text: string, code: string, what: string, charsMax: number): string {
  const expected = `Expected ${what} of 1–${charsMax} printable characters`;
  const line = text.trim();
  if (line === '') throw new TollwayError(code, `${expected}, got none`);
  if (line.length > charsMax) throw new TollwayError(code, `${expected}, got ${line.length} characters`);
  if (!VISIBLE.test(line)) throw new TollwayError(code, `${expected}, got none that can be seen`);
  const shown = printable(line);
  if (shown !== line) throw new TollwayError(code, `${expected}, got "${shown}"`);
  return line;
}

/**
 * Whether a text that begins with `YYYY-MM-DD` names a day of the calendar. `Date` takes 31 February for 3 March.
 */
export function namesCalendarDay(text: string): boolean {
  const [, year, month, day] = /^(\d{4})-(\d{2})-(\d{2})/.exec(text) ?? [];
  if (day === undefined) return false;
  const date = new Date(Date.UTC(Number(year), Number(month) - 1, Number(day)));
  return date.getUTCMonth() === Number(month) - 1 && date.getUTCDate() === Number(day);
}
