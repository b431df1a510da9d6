import type { ExportRow } from '../../ledger/clicks/export.ts';

/** Encodes the rows of one file. The bytes of all calls, one after the other, are the file. */
export type RowEncoder = {
  readonly encode: (rows: readonly ExportRow[]) => Uint8Array;
  /** Returns the last bytes. Call it once. */
  readonly finish: () => Uint8Array;
};
