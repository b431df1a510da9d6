import { z } from 'zod';
import { errorMessage, TollwayError } from '../../common/errors.ts';
import type { ClickFilter } from '../../ledger/click-filter.ts';
import { EXPORT_COLUMNS } from '../../ledger/clicks/export-text.ts';
import type { ExportFormat } from './export-format.ts';
import type { Period, PeriodLength } from './periods.ts';
import type { RowTotals } from './row-totals.ts';

/** The version of the manifest and of the meaning of the columns. New fields and columns do not change it. */
const FORMAT_VERSION = 1;

/** What all files of a target have in common. */
export type Series = {
  readonly length: PeriodLength;
  readonly format: ExportFormat;
  readonly filter: ClickFilter;
};

/** The fields that the next run of an export reads. */
const SCHEMA = z.object({
  formatVersion: z.literal(FORMAT_VERSION),
  by: z.string(),
  format: z.string(),
  advertiserId: z.number().nullable(),
  campaignId: z.number().nullable(),
  publisher: z.string().nullable(),
  until: z.iso.datetime(),
});

/** Describes a finished file. It is written after the file, so a file counts only with its manifest. */
export type Manifest = z.infer<typeof SCHEMA> &
  RowTotals & {
    /** The name of the file, in the same folder or under the same prefix. */
    readonly file: string;
    readonly since: string;
    /** The settlement watermark that was read before the rows: all clicks that were settled before it were visible. */
    readonly watermark: string;
    readonly bytes: number;
    /** The SHA-256 of the file in hexadecimal. */
    readonly sha256: string;
    readonly columns: readonly string[];
  };

/** The end of the names of manifests. */
export const MANIFEST_SUFFIX = '.manifest.json';

/** The name of the file of a period, such as `clicks-2026-01-31.csv`. */
export function fileNameOf({ format }: Series, { name }: Period): string {
  return `clicks-${name}.${format}`;
}

/** The manifest of a file. */
export function manifestOf(
  series: Series,
  period: Period,
  watermark: Date,
  written: RowTotals & { readonly bytes: number; readonly sha256: string },
): Manifest {
  return {
    formatVersion: FORMAT_VERSION,
    file: fileNameOf(series, period),
    ...commonFields(series),
    since: period.since.toISOString(),
    until: period.until.toISOString(),
    watermark: watermark.toISOString(),
    ...written,
    columns: EXPORT_COLUMNS,
  };
}

/**
 * Returns the end of the period of a manifest. Throws `bad_target` if it is not a manifest of this version, or belongs to an export with
 * other options: files of both in one target could not be told apart.
 */
export function periodEndOf(name: string, text: string, series: Series): Date {
  const manifest = parseManifest(name, text);
  for (const [field, expected] of Object.entries(commonFields(series))) {
    const got = manifest[field as keyof typeof manifest];
    if (got === expected) continue;
    throw new TollwayError(
      'bad_target',
      `Expected a target for exports with ${field} ${expected}, got one with ${field} ${got} (${name}). Use a target for each set of options`,
    );
  }
  return new Date(manifest.until);
}

function parseManifest(name: string, text: string) {
  try {
    return SCHEMA.parse(JSON.parse(text));
  } catch (cause) {
    const message = `Expected a manifest of format version ${FORMAT_VERSION}, got ${name}: ${errorMessage(cause)}`;
    throw new TollwayError('bad_target', message, { cause });
  }
}

function commonFields({ length, format, filter }: Series) {
  return {
    format,
    by: length.by,
    advertiserId: filter.advertiserId ?? null,
    campaignId: filter.campaignId ?? null,
    publisher: filter.publisher ?? null,
  };
}
