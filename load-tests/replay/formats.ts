import { parseObject, readClickLines } from './click-lines.ts';
import type { ColumnMap, TimeOptions } from './csv-columns.ts';
import { csvReader, isHeadLine } from './csv-rows.ts';
import { isExportRow, readLedgerExport } from './ledger-export.ts';
import type { Reader } from './line-result.ts';
import { albReader, isAlbLine } from './logs/alb.ts';
import { caddyReader, isCaddyObject } from './logs/caddy.ts';
import { cloudFrontReader, isCloudFrontLine } from './logs/cloudfront.ts';
import { combinedReader, isCombinedLine } from './logs/combined.ts';
import type { LogContext } from './logs/log-request.ts';
import { isNginxObject, nginxJsonReader } from './logs/nginx-json.ts';

/** The formats of recordings. */
export const FORMATS = [
  'events',
  'export',
  'combined',
  'nginx-json',
  'caddy',
  'cloudfront',
  'alb',
  'csv',
] as const;
export type Format = (typeof FORMATS)[number];

/** Options of the readers. */
export type ReaderOptions = {
  readonly columns: ColumnMap | null;
  readonly times: TimeOptions;
  readonly log: LogContext;
};

/** The format of a line, or `null` if it has none of them. CSV is detected by its first line only. */
export function formatOfLine(text: string, isFirst: boolean): Format | null {
  const object = parseObject(text.startsWith('{') ? text : '');
  if (typeof object !== 'string') {
    if (isCaddyObject(object)) return 'caddy';
    if (isExportRow(object)) return 'export';
    return isNginxObject(object) ? 'nginx-json' : 'events';
  }
  if (isCombinedLine(text)) return 'combined';
  if (isAlbLine(text)) return 'alb';
  if (isCloudFrontLine(text)) return 'cloudfront';
  return isFirst && isHeadLine(text) ? 'csv' : null;
}

/** Creates the reader of a format. */
export function createReader(format: Format, { columns, times, log }: ReaderOptions): Reader {
  switch (format) {
    case 'events':
      return readClickLines;
    case 'export':
      return readLedgerExport;
    case 'combined':
      return combinedReader(log);
    case 'nginx-json':
      return nginxJsonReader(log);
    case 'caddy':
      return caddyReader(log);
    case 'cloudfront':
      return cloudFrontReader(log);
    case 'alb':
      return albReader(log);
    case 'csv':
      return csvReader(columns, times, log);
    default:
      return format satisfies never;
  }
}
