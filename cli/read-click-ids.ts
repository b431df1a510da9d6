import { TollwayError } from '../common/errors.ts';
import { printable } from '../common/text.ts';
import { fileChunks, linesOf } from '../common/text-file.ts';
import { createListReader, LIST_LINE_CHARS_MAX, utf16Of } from '../contract/click-list.ts';

/** Longest line, in bytes; a character of UTF-8 has at most 4. */
const LINE_BYTES_MAX = 4 * LIST_LINE_CHARS_MAX;
/** Most characters of a line that an error shows. */
const SHOWN_CHARS_MAX = 100;

/**
 * Reads the click ids of a text file in UTF-8, or in UTF-16 with a byte order mark, plain or gzip: one a line, or the lines of `tollway
 * export` in NDJSON or CSV. Empty lines are skipped. Yields `null` for a line of an export that is not about a charge, as of an invalid
 * click or of a credit. `name` is the file's name in errors. Throws `bad_file` if the file cannot be read, and at the first line that is
 * none of these, with its number and what was expected.
 */
export async function* readClickIds(path: string, name: string): AsyncGenerator<string | null> {
  const read = createListReader();
  let number = 0;
  for await (const bytes of linesOf(fileChunks(path, name, utf16Of), LINE_BYTES_MAX)) {
    number += 1;
    const text = bytes.toString();
    const line = read(text);
    if (line.is === 'wrong') throw wrongLine(name, number, text.trim());
    if (line.is === 'charge') yield line.clickId;
    else if (line.is === 'passed_over') yield null;
  }
}

function wrongLine(name: string, number: number, text: string): TollwayError {
  const got = text.length > SHOWN_CHARS_MAX ? `${text.slice(0, SHOWN_CHARS_MAX)}…` : text;
  const expected = 'a click id (a UUIDv7 as Tollway-Click shows it) or a line of an export in NDJSON or CSV';
  return new TollwayError(
    'bad_file',
    `${name}, line ${number}: expected ${expected}, got "${printable(got)}"`,
  );
}
