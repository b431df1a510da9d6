import { createReadStream } from 'node:fs';
import { errorMessage, TollwayError } from '../common/errors.ts';
import { parseJson } from '../common/json.ts';
import { printable } from '../common/text.ts';
import { linesOf, textChunks } from '../common/text-file.ts';
import { parseClickId } from '../ledger/click-reference.ts';

/** Longest line, in bytes: those of `tollway export` have less than a tenth of it. */
const LINE_BYTES_MAX = 16_384;
/** Most characters of a line that an error shows. */
const SHOWN_CHARS_MAX = 100;

/**
 * Reads the click ids of a text file, plain or gzip: one a line, or the lines of `tollway export` in NDJSON. Empty lines are skipped. Yields
 * `null` for a line of an export that is not about a charge, as of an invalid click or of a credit. `name` is the file's name in errors. Throws
 * `bad_file` at the first line that is none of these, with its number and what was expected, and what reading the file throws.
 */
export async function* readClickIds(path: string, name: string): AsyncGenerator<string | null> {
  let number = 0;
  for await (const line of linesOf(textChunks(name, createReadStream(path)), LINE_BYTES_MAX)) {
    number += 1;
    const text = line.toString().trim();
    if (text === '') continue;
    try {
      yield text.startsWith('{') ? idOfRow(parseJson(text)) : parseClickId(text);
    } catch (error) {
      const got = text.length > SHOWN_CHARS_MAX ? `${text.slice(0, SHOWN_CHARS_MAX)}…` : text;
      const expected = 'a click id (a UUIDv7 as Tollway-Click shows it) or a line of an export in NDJSON';
      throw new TollwayError(
        'bad_file',
        `${name}, line ${number}: expected ${expected}, got "${printable(got)}"`,
        { cause: errorMessage(error) },
      );
    }
  }
}

/** The id in a row of an export; `null` for a row that is no charge. A row without an outcome counts as a charge. Throws for other values. */
function idOfRow(row: unknown): string | null {
  const { clickId, outcome = 'charged' } = row as { clickId?: unknown; outcome?: unknown };
  if (outcome !== 'charged') return null;
  return parseClickId(String(clickId));
}
