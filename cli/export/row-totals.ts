import { formatAmount } from '../../common/money.ts';
import type { ExportRow } from '../../ledger/clicks/export.ts';

/** What the rows of a file add up to. Amounts are decimals as in the file. */
export type RowTotals = {
  readonly rows: number;
  /** Rows that are not credits. */
  readonly clicks: number;
  /** Rows by outcome, only of those that the file has. */
  readonly rowsByOutcome: Readonly<Record<string, number>>;
  readonly amounts: readonly {
    readonly currency: string;
    /** The sum of the positive amounts. */
    readonly charged: string;
    /** The sum that credits gave back, positive. */
    readonly credited: string;
    /** `charged` − `credited`: the sum of the column. */
    readonly net: string;
  }[];
};

/** Counts the rows of a file. */
export function createRowCounter() {
  const rowsByOutcome = new Map<string, number>();
  const amounts = new Map<string, { charged: bigint; credited: bigint }>();
  return {
    add(rows: readonly ExportRow[]) {
      for (const { outcome, chargedMicros, currency } of rows) {
        rowsByOutcome.set(outcome, (rowsByOutcome.get(outcome) ?? 0) + 1);
        if (chargedMicros === 0n) continue;
        // Only a charged click and a credit have an amount, and both name an advertiser of the database.
        if (currency === null)
          throw new Error(`Expected a currency beside ${chargedMicros} micros, got none`);
        const sums = amounts.get(currency) ?? { charged: 0n, credited: 0n };
        if (chargedMicros > 0n) sums.charged += chargedMicros;
        else sums.credited -= chargedMicros;
        amounts.set(currency, sums);
      }
    },
    totals(): RowTotals {
      const rows = [...rowsByOutcome.values()].reduce((sum, count) => sum + count, 0);
      return {
        rows,
        clicks: rows - (rowsByOutcome.get('credit') ?? 0),
        rowsByOutcome: Object.fromEntries([...rowsByOutcome].sort()),
        amounts: [...amounts].sort().map(([currency, { charged, credited }]) => ({
          currency,
          charged: formatAmount(charged),
          credited: formatAmount(credited),
          net: formatAmount(charged - credited),
        })),
      };
    },
  };
}
