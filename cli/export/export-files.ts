import { createHash } from 'node:crypto';
import { TollwayError } from '../../common/errors.ts';
import type { Pool } from '../../common/postgres/postgres.ts';
import { assertFilterExists } from '../../ledger/click-filter.ts';
import { exportPeriod, readSettledFloor } from '../../ledger/clicks/export.ts';
import { readSettlementWatermark } from '../../ledger/settlement-watermark.ts';
import { createRowEncoder } from './create-row-encoder.ts';
import {
  fileNameOf,
  MANIFEST_SUFFIX,
  type Manifest,
  manifestOf,
  periodEndOf,
  type Series,
} from './manifest.ts';
import { type Period, periodAt } from './periods.ts';
import { createRowCounter, type RowTotals } from './row-totals.ts';
import type { ExportTarget, TargetFile } from './target.ts';

export type FileExport = Series & {
  /** A time in the first period, for a target without manifests. Otherwise the export continues after the last manifest. */
  readonly since?: Date;
  /** Periods that end after it are not exported. */
  readonly until?: Date;
};

/**
 * Writes a file and its manifest for each period that is wholly below the settlement watermark, in the order of time, and calls `onFile`
 * after each. Returns the first period that was not written. A period that was written is never written again.
 *
 * The manifest is committed after its file. A run that dies in between has written a file that does not count, and the next run replaces it.
 * Throws `bad_options` (no manifest and no `since`), `bad_target`, `target_failed`, `already_running`, `day_closed`, `unknown_advertiser`,
 * `unknown_campaign`.
 */
export async function exportFiles(
  pool: Pool,
  target: ExportTarget,
  options: FileExport,
  onFile: (manifest: Manifest) => void,
): Promise<Period> {
  await assertFilterExists(pool, options.filter);
  const { length, until } = options;
  let period = await firstPeriod(target, options);
  for (;;) {
    // Read before the rows of the period: rows that are stamped before it are visible to the statements that follow.
    const watermark = await readSettlementWatermark(pool);
    if (period.until > watermark || (until && period.until > until)) return period;
    onFile(await writePeriod(pool, target, options, period, watermark));
    period = periodAt(length, period.until);
  }
}

async function firstPeriod(target: ExportTarget, options: FileExport): Promise<Period> {
  const last = (await target.list(MANIFEST_SUFFIX)).at(-1);
  if (last !== undefined) {
    return periodAt(options.length, periodEndOf(last, await target.read(last), options));
  }
  if (options.since) return periodAt(options.length, options.since);
  throw new TollwayError(
    'bad_options',
    'Expected --since for the first export to a target without manifests, got none',
  );
}

async function writePeriod(
  pool: Pool,
  target: ExportTarget,
  series: Series,
  period: Period,
  watermark: Date,
): Promise<Manifest> {
  const name = fileNameOf(series, period);
  await assertComplete(pool, series, period);
  const written = await writeFile(target, name, async (write) => {
    const rows = await writeRows(pool, write, series, period);
    // Again, because a day can be dropped between the first check and its rows.
    await assertComplete(pool, series, period);
    return rows;
  });
  const manifest = manifestOf(series, period, watermark, written);
  await writeFile(target, name + MANIFEST_SUFFIX, (write) =>
    write(Buffer.from(`${JSON.stringify(manifest, null, 2)}\n`)),
  );
  return manifest;
}

/** Writes a file with `work`, and commits it if this export still has the target for itself. If any of this fails, discards the file. */
async function writeFile<T>(
  target: ExportTarget,
  name: string,
  work: (write: TargetFile['write']) => Promise<T>,
): Promise<T> {
  const file = await target.create(name);
  try {
    const result = await work(file.write);
    await target.assertLocked();
    await file.commit();
    return result;
  } catch (error) {
    await file.discard();
    throw error;
  }
}

type Written = RowTotals & { readonly bytes: number; readonly sha256: string };

async function writeRows(
  pool: Pool,
  write: (bytes: Uint8Array) => Promise<void>,
  { format, filter }: Series,
  { since, until }: Period,
): Promise<Written> {
  const encoder = await createRowEncoder(format);
  const counter = createRowCounter();
  const hash = createHash('sha256');
  let bytes = 0;
  const writeBytes = async (chunk: Uint8Array) => {
    if (chunk.length === 0) return;
    hash.update(chunk);
    bytes += chunk.length;
    await write(chunk);
  };
  await exportPeriod(pool, { ...filter, since, until }, async (rows) => {
    counter.add(rows);
    await writeBytes(encoder.encode(rows));
  });
  await writeBytes(encoder.finish());
  return { ...counter.totals(), bytes, sha256: hash.digest('hex') };
}

/** Throws `day_closed` if the ledger has dropped rows of the period. */
async function assertComplete(pool: Pool, { length }: Series, { name, since }: Period): Promise<void> {
  const floor = await readSettledFloor(pool);
  if (floor === null || floor <= since) return;
  const complete = periodAt(length, new Date(floor.getTime() + length.ms - 1));
  throw new TollwayError(
    'day_closed',
    `Expected all clicks of ${name} in the ledger, got a ledger that has dropped days with clicks settled before ${floor.toISOString()}. ` +
      `The first complete ${length.by} is ${complete.name}: export from there to a new target with --since ${complete.since.toISOString()}`,
  );
}
