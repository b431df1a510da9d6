import { parse } from 'csv-parse/sync';
import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { formatAmount } from '../../../common/money.ts';
import { sumAmounts } from '../../../console/page/amounts.ts';
import { type StatementData, statementCsv } from '../../../console/page/views/statements/statement-csv.ts';

test('amounts are added exactly, as the ledger adds micros', () => {
  expect(sumAmounts([])).toBe('0.00');
  expect(sumAmounts(['0.10', '0.20'])).toBe('0.30');
  expect(sumAmounts(['0.000001', '-0.5'])).toBe('-0.499999');
  expect(sumAmounts(['12.50'], -1n)).toBe('-12.50');
  const micros = fc.bigInt({ min: -(10n ** 18n), max: 10n ** 18n });
  fc.assert(
    fc.property(fc.array(micros, { maxLength: 20 }), (list) => {
      const sum = list.reduce((total, one) => total + one, 0n);
      expect(sumAmounts(list.map(formatAmount))).toBe(formatAmount(sum));
    }),
  );
});

const statement: StatementData = {
  ...{ advertiserId: 4, month: '2026-11', timeZone: 'Europe/Berlin', currency: 'EUR' },
  ...{ asOf: '2026-11-27T12:00:00.000Z', opening: '10.00', closing: '249.25', gross: 5, net: 3 },
  entries: [{ at: '2026-11-02T08:00:00.000Z', kind: 'top_up', amount: '240.00', reference: '=1+1, "x"' }],
  charges: [
    { campaignId: 7, campaignName: 'Spring, "sale"', adId: 9, adName: '=Banner', clicks: 3, amount: '0.75' },
    { campaignId: 7, campaignName: 'Spring, "sale"', adId: 10, adName: null, clicks: 1, amount: '0.25' },
  ],
  credits: [{ month: '2026-10', amount: '0.00', clicks: 0 }],
  invalid: [{ reason: 'bot', clicks: 2 }],
};

test('a statement is a line of CSV for each of its parts, and no text is a formula', () => {
  const rows: Record<string, string>[] = parse(statementCsv(statement), { columns: true });
  expect(rows.map(({ section }) => section)).toEqual([
    ...['opening', 'entry', 'charge', 'charge', 'credit', 'closing', 'gross', 'invalid', 'net'],
  ]);
  expect(rows[1]).toMatchObject({ reference: `'=1+1, "x"`, amount: '240.00', currency: 'EUR' });
  expect(rows[2]).toMatchObject({ campaignId: '7', adId: '9', clicks: '3', amount: '0.75' });
  expect(rows[2]).toMatchObject({ campaign: 'Spring, "sale"', ad: "'=Banner" });
  expect(rows[3]).toMatchObject({ adId: '10', ad: '' });
  expect(rows[7]).toMatchObject({ reason: 'bot', clicks: '2', amount: '' });
});
