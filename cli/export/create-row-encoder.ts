import { textHeader, textLines } from '../../ledger/clicks/export-text.ts';
import type { ExportFormat } from './export-format.ts';
import type { RowEncoder } from './row-encoder.ts';

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
