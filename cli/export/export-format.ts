import { TollwayError } from '../../common/errors.ts';
import { printable } from '../../common/text.ts';
import { TEXT_FORMATS } from '../../ledger/clicks/export-text.ts';

/** The formats of `export`. Parquet only to files. */
export const FORMATS = [...TEXT_FORMATS, 'parquet'] as const;
export type ExportFormat = (typeof FORMATS)[number];

/** Reads the name of a format. Throws `bad_format`. */
export function parseFormat(text: string): ExportFormat {
  const found = FORMATS.find((format) => format === text);
  if (found !== undefined) return found;
  throw new TollwayError('bad_format', `Expected ndjson, csv or parquet, got "${printable(text)}"`);
}
