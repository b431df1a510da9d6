import type { ExportRow } from '../../ledger/export.ts';
import { type ExportFormat, textHeader, textLines } from './export-format.ts';

/** Encodes the rows of one file. The bytes of all calls, one after the other, are the file. */
export type RowEncoder = {
  readonly encode: (rows: readonly ExportRow[]) => Uint8Array;
  /** Returns the last bytes. Call it once. */
  readonly finish: () => Uint8Array;
};

/** Creates the encoder of a file. */
export async function createRowEncoder(format: ExportFormat): Promise<RowEncoder> {
  if (format === 'parquet') {
    // Only this format loads the library: other commands start faster without it.
    const { createParquetEncoder } = await import('./parquet-encoder.ts');
    return createParquetEncoder();
  }
  let header = textHeader(format);
  const withHeader = (text: string) => {
    const bytes = Buffer.from(header + text);
    header = '';
    return bytes;
  };
  return { encode: (rows) => withHeader(textLines(format, rows)), finish: () => withHeader('') };
}
