import type { ErrorCode } from './error-codes.ts';
import { TollwayError } from './errors.ts';

/**
 * Control characters, line separators, lone surrogates and invisible format characters (direction marks, zero-width spaces, soft hyphens),
 * except the two joiners that some scripts and emoji need.
 */
const UNPRINTABLE = /[[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]--[\u200c\u200d]]/gv;
/** Joiners, and spaces other than U+0020. References that differ only in these look the same. */
const LOOKS_ALIKE = /[\u200c\u200d]|[[\p{Zs}]--[ ]]/v;
/** A visible character. */
const VISIBLE = /[\p{L}\p{N}\p{P}\p{S}]/u;
const NAME_CHARS_MAX = 200;
const REFERENCE_CHARS_MAX = 200;
const EXTERNAL_ID_CHARS_MAX = 100;

/**
 * Makes a text from outside safe to print on a terminal: characters that could move the cursor, change colours or hide text are escaped,
 * such as `\u001b`. The result is one line.
 */
export function printable(text: string): string {
  return text.replace(UNPRINTABLE, escapeOf);
}

/** Like {@link printable}, but keeps line ends and tabs. */
export function printableLines(text: string): string {
  return text.replace(UNPRINTABLE, (found) => (found === '\n' || found === '\t' ? found : escapeOf(found)));
}

/** A value as JSON that is safe to print on a terminal. JSON parsers read the same value from it. */
export function printableJson(value: unknown, space?: number): string {
  return printableLines(JSON.stringify(value, null, space));
}

function escapeOf(found: string): string {
  // One escape for each UTF-16 code unit, as in JSON.
  return Array.from({ length: found.length }, (_, at) => {
    return `\\u${found.charCodeAt(at).toString(16).padStart(4, '0')}`;
  }).join('');
}

/** Reads the name of an advertiser, a campaign or an ad: 1–200 printable characters, without spaces around them. Throws `bad_name`. */
export function parseName(text: string): string {
  return parseLine(text, 'bad_name', 'a name', NAME_CHARS_MAX);
}

/**
 * Reads the reference of a budget entry: 1–200 printable characters, without spaces around them. References that begin with "credit " are
 * reserved for the credits of clicks. Throws `bad_reference`.
 */
export function parseReference(text: string): string {
  const reference = parseDistinct(text, 'bad_reference', 'a reference', REFERENCE_CHARS_MAX);
  if (!/^credit /i.test(reference)) return reference;
  throw new TollwayError(
    'bad_reference',
    `Expected a reference that does not begin with "credit " (reserved for credits of clicks), got "${reference}"`,
  );
}

/**
 * Reads the id that another system has for a campaign: 1–100 printable characters, without spaces around them. Throws `bad_external_id`.
 */
export function parseExternalId(text: string): string {
  return parseDistinct(text, 'bad_external_id', 'an external id', EXTERNAL_ID_CHARS_MAX);
}

/** Reads a text that must be unique: two that look the same are equal. */
function parseDistinct(text: string, code: ErrorCode, noun: string, charsMax: number): string {
  const line = parseLine(text.normalize('NFC'), code, noun, charsMax);
  const lookalike = LOOKS_ALIKE.exec(line)?.[0];
  if (lookalike === undefined) return line;
  throw new TollwayError(
    code,
    `Expected ${noun} with ordinary spaces and without joiners, got "${line.replace(lookalike, escapeOf(lookalike))}"`,
  );
}

function parseLine(text: string, code: ErrorCode, noun: string, charsMax: number): string {
  const expected = `Expected ${noun} of 1–${charsMax} printable characters`;
  const line = text.trim();
  if (line === '') throw new TollwayError(code, `${expected}, got none`);
  if (line.length > charsMax) throw new TollwayError(code, `${expected}, got ${line.length} characters`);
  if (!VISIBLE.test(line)) throw new TollwayError(code, `${expected}, got no visible character`);
  const shown = printable(line);
  if (shown !== line) throw new TollwayError(code, `${expected}, got "${shown}"`);
  return line;
}
