import { csvLine } from '../../common/csv.ts';
import { formatAmount } from '../../common/money.ts';
import { printableJson } from '../../common/text.ts';
import type { ExportRow } from './export.ts';

/** Formats of an export as lines of text. */
export const TEXT_FORMATS = ['ndjson', 'csv'] as const;
export type TextFormat = (typeof TEXT_FORMATS)[number];

function fieldsOf(row: ExportRow) {
  return {
    clickId: row.clickId,
    nonce: row.nonce,
    advertiserId: row.advertiserId,
    campaignId: row.campaignId,
    adId: row.adId,
    publisher: row.publisher,
    outcome: row.outcome,
    reason: row.reason,
    charged: formatAmount(row.chargedMicros),
    currency: row.currency,
    clickedAt: row.clickedAt?.toISOString() ?? null,
    settledAt: row.settledAt.toISOString(),
    spoolId: row.spoolId,
    sequence: row.sequence === null ? null : Number(row.sequence),
    kind: row.kind,
  };
}

/** The columns of an export, in order. */
export const EXPORT_COLUMNS = [
  'clickId',
  'nonce',
  'advertiserId',
  'campaignId',
  'adId',
  'publisher',
  'outcome',
  'reason',
  'charged',
  'currency',
  'clickedAt',
  'settledAt',
  'spoolId',
  'sequence',
  'kind',
] as const satisfies readonly (keyof ReturnType<typeof fieldsOf>)[];
export type ExportColumn = (typeof EXPORT_COLUMNS)[number];

/** The first lines of an export: the names of the columns in CSV, nothing in NDJSON. */
export function textHeader(format: TextFormat): string {
  return format === 'csv' ? `${csvLine(EXPORT_COLUMNS)}\n` : '';
}

/** The lines of rows. */
export function textLines(format: TextFormat, rows: readonly ExportRow[]): string {
  const line = (row: ExportRow) => {
    const fields = fieldsOf(row);
    return format === 'csv' ? csvLine(EXPORT_COLUMNS.map((name) => fields[name])) : printableJson(fields);
  };
  return rows.map((row) => `${line(row)}\n`).join('');
}
