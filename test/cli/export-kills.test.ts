import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, it } from 'vitest';
import { exportFiles } from '../../cli/export/export-files.ts';
import type { ExportFormat } from '../../cli/export/export-format.ts';
import { openFolderTarget } from '../../cli/export/folder-target.ts';
import { parseAmount } from '../../common/money.ts';
import { creditClick } from '../../ledger/accounts/budget-entries.ts';
import { readSettlementWatermark } from '../../ledger/settlement-watermark.ts';
import { chargeBatch } from '../support/charge-batch.ts';
import { forkChild } from '../support/child.ts';
import { addAccount, createTestDatabase } from '../support/database.ts';
import { clickRecord } from '../support/records.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';
import { readExport } from './exported-files.ts';

/** Exports that are killed while clicks are charged. */

const KILLS = 6;
/** Shorter than the time between two kills, so that several files are written in each life of the process. */
const PERIOD_MS = 250;
/** Longest life of the process after its first file, in ms. */
const LIFE_MS_MAX = 700;

/** Charges batches and credits one click of each until `stop` is called, which returns the ids of the clicks and the number of credits. */
function startCharging({ pool }: Awaited<ReturnType<typeof createTestDatabase>>) {
  let over = false;
  const sent: string[] = [];
  const charging = (async () => {
    const { ad } = await addAccount(pool, { budget: '20.00' });
    const rich = await addAccount(pool, { budget: '1000000.00' });
    let credits = 0;
    while (!over) {
      const batch = Array.from({ length: 60 }, (_, index) => clickRecord({ ad: index % 2 ? ad : rich.ad }));
      await chargeBatch(pool, [...batch, clickRecord({ ad: { ...ad, id: 2_000_000_000 } })]);
      await creditClick(pool, batch[0]?.click.clickId ?? '');
      credits += 1;
      sent.push(...batch.map(({ click }) => click.clickId));
      await sleep(5);
    }
    return credits;
  })();
  return async () => {
    over = true;
    return { credits: await charging, sent };
  };
}

/** The names of all files that look finished. */
function finishedNames(folder: string): string[] {
  return readdirSync(folder).filter((name) => name.startsWith('clicks-') && !name.endsWith('.partial'));
}

it.each<ExportFormat>(['csv', 'parquet'])(
  'of a process that is killed again and again: every click once, every manifest true (%s)',
  { timeout: 120_000 },
  async (format) => {
    const database = await createTestDatabase();
    try {
      const folder = temporaryFolder();
      const since = new Date();
      const stop = startCharging(database);
      /** The content of each file when it was first seen under its name. */
      const found = new Map<string, Buffer>();
      for (let kill = 0; kill < KILLS; kill += 1) {
        const args = [database.url, folder, format, since.toISOString(), String(PERIOD_MS)];
        const child = forkChild('export-for-ever', args);
        await once(child, 'message');
        await sleep(Math.random() * LIFE_MS_MAX);
        const ended = once(child, 'exit');
        child.kill('SIGKILL');
        expect(await ended).toEqual([null, 'SIGKILL']);
        for (const name of finishedNames(folder)) {
          if (!found.has(name)) found.set(name, readFileSync(join(folder, name)));
        }
      }
      const { sent, credits } = await stop();
      const length = { by: 'test', ms: PERIOD_MS, nameCharacters: 23 };
      const target = await openFolderTarget(folder);
      const end = await readSettlementWatermark(database.pool);
      await expect
        .poll(async () => {
          const next = await exportFiles(database.pool, target, { length, format, filter: {} }, () => {});
          return next.since > end;
        })
        .toBe(true);
      await target.close();

      for (const [name, content] of found) {
        expect(readFileSync(join(folder, name)).equals(content), name).toBe(true);
      }
      const files = readExport(folder);
      expect(files.length).toBeGreaterThan(KILLS);
      for (const [index, { manifest }] of files.entries()) {
        expect(manifest.since).toBe(files[index - 1]?.manifest.until ?? manifest.since);
      }
      const rows = files.flatMap((file) => file.rows);
      const idsOf = (...outcomes: string[]) =>
        rows.filter(({ outcome }) => outcomes.includes(outcome)).map(({ clickId }) => clickId ?? '');
      expect(idsOf('charged', 'over_budget').toSorted()).toEqual(sent.toSorted());
      expect(new Set(idsOf('credit')).size).toBe(credits);
      expect(idsOf('credit')).toHaveLength(credits);
      expect(idsOf('rejected')).toHaveLength(credits);
      const sum = rows.reduce((total, { charged }) => total + parseAmount(charged), 0n);
      const { rows: balances } = await database.pool.query<{ net: bigint }>(
        `select (select sum(spent_micros) from advertiser)::bigint
           - (select sum(amount_micros) from budget_entry where kind = 'credit')::bigint as net`,
      );
      expect(sum).toBe(balances[0]?.net);
      const counted = files.flatMap(({ manifest }) => [manifest.file, `${manifest.file}.manifest.json`]);
      expect(readdirSync(folder).toSorted()).toEqual(['.export.lock', ...counted].toSorted());
    } finally {
      await database.drop();
    }
  },
);
