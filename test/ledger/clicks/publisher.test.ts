import { expect, it } from 'vitest';
import { creditClick } from '../../../ledger/accounts/budget-entries.ts';
import { type ExportRow, exportLedger } from '../../../ledger/clicks/export.ts';
import { readReport } from '../../../ledger/reports/report.ts';
import { rollUp } from '../../../ledger/reports/rollup.ts';
import { chargeBatch } from '../../support/charge-batch.ts';
import { addAccount, testDatabase } from '../../support/database.ts';
import { clickRecord } from '../../support/records.ts';

/** The publisher of a click in the ledger, dead letters, exports and reports. */

const database = testDatabase();

it('stays with the click from the event to exports and reports', async () => {
  const { ad } = await addAccount(database.pool);
  const wrong = { ...ad, advertiserId: ad.advertiserId + 1 };
  const news = clickRecord({ ad, publisher: 'example-news' });
  const clicks = [
    news,
    clickRecord({ ad, publisher: 'example-mail', invalid: 'bot' }),
    clickRecord({ ad, publisher: null }),
    clickRecord({ ad }),
    clickRecord({ ad: wrong, publisher: 'example-news' }),
  ];
  await chargeBatch(database.pool, clicks);
  await creditClick(database.pool, news.click.clickId);

  const exported: ExportRow[] = [];
  await exportLedger(database.pool, { since: new Date(0) }, async (rows) => void exported.push(...rows));
  expect(exported.map(({ outcome, publisher }) => `${outcome} ${publisher}`).sort()).toEqual([
    'charged example-news',
    'charged null',
    'charged null',
    'credit example-news',
    'invalid example-mail',
    'rejected example-news',
  ]);

  await rollUp(database.pool);
  const since = new Date(Date.now() - (Date.now() % 900_000) - 900_000);
  const until = new Date(since.getTime() + 2 * 900_000);
  const { rows } = await readReport(database.pool, { since, until, by: ['publisher', 'outcome'] });
  const price = ad.priceMicros;
  expect(rows.map(({ currency: _, ...row }) => row)).toEqual([
    { ...row('example-mail', 'invalid', 1n), chargedMicros: 0n, correctedMicros: 0n },
    { ...row('example-news', 'charged', 1n), chargedMicros: price, correctedMicros: 0n },
    { ...row(null, 'charged', 2n), chargedMicros: 2n * price, correctedMicros: 2n * price },
  ]);
});

function row(publisher: string | null, outcome: string, clicks: bigint) {
  return { publisher, outcome, clicks };
}
