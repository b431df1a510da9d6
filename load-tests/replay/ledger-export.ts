import { parseAmount } from '../../common/money.ts';
import { EDGE_INVALID_REASONS } from '../../contract/click-event.ts';
import { clickOf, eachLine, parseObject } from './click-lines.ts';
import type { LineResult, Reader } from './line-result.ts';

/** The columns that describe the click itself, not its outcome. */
const CLICK_FIELDS = [
  'clickId',
  'nonce',
  'adId',
  'campaignId',
  'advertiserId',
  'publisher',
  'clickedAt',
] as const;

/** Whether an object is a row of `npx tollway export`. */
export function isExportRow(row: Readonly<Record<string, unknown>>): boolean {
  return 'outcome' in row && 'settledAt' in row && 'charged' in row;
}

/**
 * Reads the export of the ledger. Only the amount of a charged click is its price; for other clicks the current price of the ad is looked up.
 * Reasons that the ad server set (such as `bot`) are kept; repeats and exhausted budgets are decided again by the processor.
 */
export const readLedgerExport: Reader = eachLine((text, line) => {
  const row = parseObject(text);
  return typeof row === 'string' ? { is: 'broken', line, why: row } : clickOfRow(row, line);
});

/** Reads a row of the export as CSV. Empty values are `null`, ids are numbers. */
export function readExportValues(
  headers: readonly string[],
  values: readonly string[],
  line: number,
): LineResult {
  const row: Record<string, unknown> = {};
  for (const [index, name] of headers.entries()) {
    const value = values[index] ?? '';
    row[name] = value === '' ? null : /^(ad|campaign|advertiser)Id$/.test(name) ? Number(value) : value;
  }
  return clickOfRow(row, line);
}

function clickOfRow(row: Readonly<Record<string, unknown>>, line: number): LineResult {
  const broken = (why: string): LineResult => ({ is: 'broken', line, why });
  if (!isExportRow(row))
    return broken('Expected outcome, charged and settledAt, as in the output of npx tollway export');
  if (row.outcome === 'credit') return { is: 'skipped', line, why: 'a credit; its click has a separate row' };
  if (row.clickId === null) return { is: 'skipped', line, why: 'rejected, without a click id' };
  const event: Record<string, unknown> = {};
  for (const name of CLICK_FIELDS) event[name] = row[name];
  if (row.outcome === 'charged') {
    const price = priceOf(row.charged);
    if (price === null) return broken('Expected an amount in charged');
    event.priceMicros = price;
  }
  const edgeReason = EDGE_INVALID_REASONS.find((reason) => reason === row.reason);
  if (row.outcome === 'invalid' && edgeReason !== undefined) event.invalid = edgeReason;
  return clickOf(event, line);
}

function priceOf(charged: unknown): number | null {
  try {
    return typeof charged === 'string' ? Number(parseAmount(charged)) : null;
  } catch {
    return null;
  }
}
