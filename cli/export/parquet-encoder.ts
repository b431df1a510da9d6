import { ByteWriter, ParquetWriter, type SchemaElement } from 'hyparquet-writer';
import { readVersion } from '../../common/version.ts';
import type { ExportRow } from '../../ledger/clicks/export.ts';
import { EXPORT_COLUMNS, type ExportColumn } from '../../ledger/clicks/export-text.ts';
import type { RowEncoder } from './row-encoder.ts';

/** Least number of rows of a row group, which is held in memory. Larger groups compress no better and need more memory. */
const GROUP_ROWS = 20_000;

type ColumnType = Omit<SchemaElement, 'name'>;
/** Ids are text: Spark cannot read the type UUID. docs/decisions/0021-exports-are-files-with-manifests.md */
const TEXT: ColumnType = {
  type: 'BYTE_ARRAY',
  converted_type: 'UTF8',
  logical_type: { type: 'STRING' },
  repetition_type: 'OPTIONAL',
};
const INTEGER: ColumnType = { type: 'INT32', repetition_type: 'OPTIONAL' };
const LONG: ColumnType = { type: 'INT64', repetition_type: 'OPTIONAL' };
const TIME: ColumnType = {
  type: 'INT64',
  converted_type: 'TIMESTAMP_MILLIS',
  logical_type: { type: 'TIMESTAMP', isAdjustedToUTC: true, unit: 'MILLIS' },
  repetition_type: 'OPTIONAL',
};
/** Whole micros: 18 digits are the most that 64 bits hold. */
const AMOUNT: ColumnType = {
  type: 'INT64',
  converted_type: 'DECIMAL',
  logical_type: { type: 'DECIMAL', precision: 18, scale: 6 },
  precision: 18,
  scale: 6,
  repetition_type: 'REQUIRED',
};

type Column = { readonly type: ColumnType; readonly valueOf: (row: ExportRow) => unknown };
const COLUMNS: Readonly<Record<ExportColumn, Column>> = {
  clickId: { type: TEXT, valueOf: (row) => row.clickId },
  nonce: { type: TEXT, valueOf: (row) => row.nonce },
  advertiserId: { type: INTEGER, valueOf: (row) => row.advertiserId },
  campaignId: { type: INTEGER, valueOf: (row) => row.campaignId },
  adId: { type: INTEGER, valueOf: (row) => row.adId },
  publisher: { type: TEXT, valueOf: (row) => row.publisher },
  outcome: { type: { ...TEXT, repetition_type: 'REQUIRED' }, valueOf: (row) => row.outcome },
  reason: { type: TEXT, valueOf: (row) => row.reason },
  charged: { type: AMOUNT, valueOf: (row) => row.chargedMicros },
  currency: { type: TEXT, valueOf: (row) => row.currency },
  clickedAt: { type: TIME, valueOf: (row) => row.clickedAt },
  settledAt: { type: { ...TIME, repetition_type: 'REQUIRED' }, valueOf: (row) => row.settledAt },
  spoolId: { type: TEXT, valueOf: (row) => row.spoolId },
  sequence: { type: LONG, valueOf: (row) => row.sequence },
  kind: { type: TEXT, valueOf: (row) => row.kind },
};

/** Creates the encoder of a Parquet file with Snappy compression. Holds one row group in memory. */
export function createParquetEncoder(): RowEncoder {
  const bytes = new ByteWriter();
  const schema = [
    { name: 'clicks', num_children: EXPORT_COLUMNS.length },
    ...EXPORT_COLUMNS.map((name) => ({ name, ...COLUMNS[name].type })),
  ];
  const parquet = new ParquetWriter({ writer: bytes, schema, createdBy: `tollway version ${readVersion()}` });
  let group: ExportRow[] = [];
  const writeGroup = () => {
    const columnData = EXPORT_COLUMNS.map((name) => ({
      name,
      data: group.map(COLUMNS[name].valueOf),
      // Each click has one row, so a dictionary of the ids saves nothing.
      ...(name === 'clickId' && { encoding: 'PLAIN' as const }),
    }));
    // The writer is in memory, so `write` returns no promise.
    parquet.write({ columnData, rowGroupSize: group.length });
    group = [];
  };
  const take = () => {
    const taken = bytes.getBytes().slice();
    // The offset within the file goes on; only the buffer is emptied.
    bytes.index = 0;
    return taken;
  };
  return {
    encode: (rows) => {
      group.push(...rows);
      if (group.length >= GROUP_ROWS) writeGroup();
      return take();
    },
    finish: () => {
      if (group.length > 0) writeGroup();
      parquet.finish();
      return parquet.row_groups.length === 0 ? withTypedEmptyList(take()) : take();
    },
  };
}

/** The type of a struct in Thrift's compact protocol. */
const STRUCT = 12;

/**
 * Sets the type of the empty list of row groups in a file without rows. hyparquet-writer 0.17 writes 0 there; PyArrow and DuckDB ignore it,
 * but the Rust implementation of Apache Arrow refuses the file. https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md
 */
function withTypedEmptyList(file: Uint8Array): Uint8Array {
  // Field 3, `num_rows`: an i64 of 0. Field 4, `row_groups`: a list, with its size and the type of its elements in one byte.
  const at = Buffer.from(file).indexOf(Buffer.from([0x16, 0, 0x19, 0]));
  if (at >= 0) file[at + 3] = STRUCT;
  return file;
}
