import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Table, tableFromIPC } from 'apache-arrow';
import { parse } from 'csv-parse/sync';
import { readParquet } from 'parquet-wasm';
import { expect } from 'vitest';
import type { Manifest } from '../../cli/export/manifest.ts';
import { parseAmount } from '../../common/money.ts';

/** A row as the file has it: texts, or `null` for an absent value. Amounts in micros. */
export type ReadRow = Readonly<Record<string, string | null>> & {
  readonly outcome: string;
  readonly charged: string;
  readonly settledAt: string;
};
export type ReadFile = { readonly manifest: Manifest; readonly rows: readonly ReadRow[] };

/** Reads all files of a folder that have a manifest, in the order of their names, and expects that every manifest is true. */
export function readExport(folder: string): ReadFile[] {
  return readdirSync(folder)
    .filter((name) => name.endsWith('.manifest.json'))
    .sort()
    .map((name) => readExported((file) => readFileSync(join(folder, file)), name));
}

/** Reads a file by its manifest, and expects that the manifest is true. */
export function readExported(read: (name: string) => Buffer, name: string): ReadFile {
  const manifest = JSON.parse(read(name).toString()) as Manifest;
  expect(name).toBe(`${manifest.file}.manifest.json`);
  const bytes = read(manifest.file);
  expect(manifest.bytes).toBe(bytes.length);
  expect(manifest.sha256).toBe(createHash('sha256').update(bytes).digest('hex'));
  const rows = rowsOf(bytes, manifest);
  expect({ ...recount(rows) }).toEqual({
    rows: manifest.rows,
    clicks: manifest.clicks,
    rowsByOutcome: manifest.rowsByOutcome,
    amounts: manifest.amounts.map(({ currency, charged, credited, net }) => ({
      currency,
      charged: parseAmount(charged),
      credited: parseAmount(credited),
      net: parseAmount(net),
    })),
  });
  for (const { settledAt } of rows) {
    const isInPeriod = settledAt >= manifest.since && settledAt < manifest.until;
    expect(isInPeriod, `${settledAt} in ${name}`).toBe(true);
  }
  expect(manifest.watermark >= manifest.until).toBe(true);
  return { manifest, rows };
}

function recount(rows: readonly ReadRow[]) {
  const rowsByOutcome: Record<string, number> = {};
  const sums = new Map<string, { charged: bigint; credited: bigint }>();
  for (const { outcome, charged, currency } of rows) {
    rowsByOutcome[outcome] = (rowsByOutcome[outcome] ?? 0) + 1;
    const micros = parseAmount(charged);
    if (micros === 0n) continue;
    const sum = sums.get(currency ?? '') ?? { charged: 0n, credited: 0n };
    sums.set(currency ?? '', {
      charged: sum.charged + (micros > 0n ? micros : 0n),
      credited: sum.credited - (micros < 0n ? micros : 0n),
    });
  }
  return {
    rows: rows.length,
    clicks: rows.filter(({ outcome }) => outcome !== 'credit').length,
    rowsByOutcome,
    amounts: [...sums]
      .sort()
      .map(([currency, sum]) => ({ currency, ...sum, net: sum.charged - sum.credited })),
  };
}

function rowsOf(bytes: Buffer, { format, columns }: Manifest): ReadRow[] {
  if (format === 'parquet') return parquetRows(bytes, columns);
  const rows: Record<string, unknown>[] =
    format === 'csv'
      ? parse(bytes, { columns: true })
      : bytes
          .toString()
          .split('\n')
          .slice(0, -1)
          .map((line) => JSON.parse(line));
  return rows.map((row) => {
    expect(Object.keys(row)).toEqual(columns);
    // An absent value is empty in CSV and null in NDJSON.
    return Object.fromEntries(
      columns.map((name) => [name, row[name] === '' || row[name] === null ? null : String(row[name])]),
    ) as ReadRow;
  });
}

/** Reads Parquet with the Rust implementation of Apache Arrow, which shares no code with the writer. */
function parquetRows(bytes: Buffer, columns: readonly string[]): ReadRow[] {
  const table: Table = tableFromIPC(readParquet(bytes).intoIPCStream());
  const types = table.schema.fields.map(({ name, type }) => [name, String(type)]);
  expect(types.map(([name]) => name)).toEqual(columns);
  expect(Object.fromEntries(types)).toMatchObject({
    clickId: 'Utf8',
    adId: 'Int32',
    charged: 'Decimal[18e+6]',
    clickedAt: 'Timestamp<MILLISECOND, UTC>',
    sequence: 'Int64',
  });
  return Array.from(table, (row) =>
    Object.fromEntries(columns.map((name) => [name, textOf(name, row?.[name])])),
  ) as ReadRow[];
}

function textOf(name: string, value: unknown): string | null {
  if (value === null || value === undefined) return null;
  if (name === 'clickedAt' || name === 'settledAt') return new Date(Number(value)).toISOString();
  if (name === 'charged') return decimalText(value as Uint32Array);
  return String(value);
}

/** Arrow's decimals are the words of a 128-bit number, the lowest first. */
function decimalText(words: Uint32Array): string {
  const unsigned = [...words].reduceRight((sum, word) => (sum << 32n) | BigInt(word), 0n);
  const micros = BigInt.asIntN(128, unsigned);
  const digits = (micros < 0n ? -micros : micros).toString().padStart(7, '0');
  return `${micros < 0n ? '-' : ''}${digits.slice(0, -6)}.${digits.slice(-6)}`;
}
