import { exportFiles } from '../../../cli/export/export-files.ts';
import type { ExportFormat } from '../../../cli/export/export-format.ts';
import { openFolderTarget } from '../../../cli/export/folder-target.ts';
import { createPool } from '../../../common/postgres/postgres.ts';

/** Exports to a folder again and again, in short periods, and sends a message after each file, until it is killed. */
const [url = '', folder = '', format = '', since = '', periodMs = ''] = process.argv.slice(2);
const length = { by: 'test', ms: Number(periodMs), nameCharacters: 23 };
const pool = createPool(url, 'export', 2, () => {});
for (;;) {
  const target = await openFolderTarget(folder);
  // The formats are those of `export`.
  const series = { length, format: format as ExportFormat, filter: {}, since: new Date(since) };
  await exportFiles(pool, target, series, ({ file }) => process.send?.(file));
  await target.close();
}
