import { readdirSync } from 'node:fs';
import { expect, it } from 'vitest';
import { exportFiles } from '../../cli/export/export-files.ts';
import { openFolderTarget } from '../../cli/export/folder-target.ts';
import { PERIOD_LENGTHS } from '../../cli/export/periods.ts';
import type { ExportTarget } from '../../cli/export/target.ts';
import { TollwayError } from '../../common/errors.ts';
import { DAY_MS } from '../../common/unix-time.ts';
import { dayStart } from '../../ledger/partitions.ts';
import { testDatabase } from '../support/database.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';

const database = testDatabase();

/** A folder that another export takes over before the check number `lostAt`, and what was done with it. */
function losingLock(target: ExportTarget, lostAt: number): ExportTarget & { readonly steps: string[] } {
  const steps: string[] = [];
  let checks = 0;
  return {
    ...target,
    steps,
    create: async (name) => {
      const file = await target.create(name);
      const kind = name.endsWith('.manifest.json') ? 'manifest' : 'file';
      return {
        ...file,
        commit: async () => {
          await file.commit();
          steps.push(kind);
        },
      };
    },
    assertLocked: async () => {
      checks += 1;
      if (checks === lostAt) throw new TollwayError('already_running', 'Another export has the target');
      steps.push('locked');
    },
  };
}

it.each([
  [1, []],
  [2, ['locked', 'file']],
  [3, ['locked', 'file', 'locked', 'manifest']],
])('an export that has lost its target before check %d has done no more than %j', async (lostAt, done) => {
  const folder = temporaryFolder();
  const target = await openFolderTarget(folder);
  const since = new Date(dayStart(Date.now()) - 2 * DAY_MS);
  const run = (to: ExportTarget) =>
    exportFiles(
      database.pool,
      to,
      { length: PERIOD_LENGTHS.day, format: 'csv', filter: {}, since },
      () => {},
    );
  const losing = losingLock(target, lostAt);
  await expect(run(losing)).rejects.toMatchObject({ code: 'already_running' });
  expect(losing.steps).toEqual(done);
  expect(readdirSync(folder).filter((name) => name.endsWith('.partial'))).toEqual([]);
  await run(target);
  await target.close();
  // The next run has replaced what did not count.
  const names = readdirSync(folder).filter((name) => name.startsWith('clicks-'));
  expect(names.filter((name) => name.endsWith('.csv'))).toHaveLength(2);
  expect(names.filter((name) => name.endsWith('.csv.manifest.json'))).toHaveLength(2);
});
