import { parseAmount } from '../../common/money.ts';
import { EDGE_INVALID_REASONS } from '../../contract/click-event.ts';
import { clickOf, eachLine, parseObject } from './click-lines.ts';
import type { Reader, Reading } from './reading.ts';

/** What a row says that is a fact about the click, and not about what became of it. */
const FACTS = ['clickId', 'nonce', 'adId', 'campaignId', 'advertiserId', 'clickedAt'] as const;

/** Whether an object is a row of `npx tollway export`. */
export function isExportRow(row: Readonly<Record<string, unknown>>): boolean {
  return 'outcome' in row && 'settledAt' in row && 'charged' in row;
}

/**
 * The ledger's own export. A row tells what a click has cost, and only of a charged one is that its price: for the others
 * the ad's price of today is looked up. What was judged at the edge keeps its judgement; a repeat, and a budget that
 * is gone, are found anew.
 */
export const readLedgerExport: Reader = eachLine((text, line) => {
  const row = parseObject(text);
  return typeof row === 'string' ? { is: 'broken', line, why: row } : clickOfRow(row, line);
});

/** A row of the export as CSV: an empty value is `null`, ids are numbers. */
export function readExportValues(
  headers: readonly string[],
  values: readonly string[],
  line: number,
): Reading {
  const row: Record<string, unknown> = {};
  for (const [index, name] of headers.entries()) {
    const value = values[index] ?? '';
    row[name] = value === '' ? null : /^(ad|campaign|advertiser)Id$/.test(name) ? Number(value) : value;
  }
  return clickOfRow(row, line);
}

function clickOfRow(row: Readonly<Record<string, unknown>>, line: number): Reading {
  const broken = (why: string): Reading => ({ is: 'broken', line, why });
  if (!isExportRow(row))
    return broken('Expected outcome, charged and settledAt, as npx tollway export has them');
  if (row.outcome === 'credit')
    return { is: 'skipped', line, why: 'a credit: its click has a row of its own' };
  if (row.clickId === null) return { is: 'skipped', line, why: 'rejected, without a click id' };
  const event: Record<string, unknown> = {};
  for (const name of FACTS) event[name] = row[name];
  if (row.outcome === 'charged') {
    const price = priceOf(row.charged);
    if (price === null) return broken('Expected an amount in charged');
    event.priceMicros = price;
  }
  const judged = EDGE_INVALID_REASONS.find((reason) => reason === row.reason);
  if (row.outcome === 'invalid' && judged !== undefined) event.invalid = judged;
  return clickOf(event, line);
}

function priceOf(charged: unknown): number | null {
  try {
    return typeof charged === 'string' ? Number(parseAmount(charged)) : null;
  } catch {
    return null;
  }
}
