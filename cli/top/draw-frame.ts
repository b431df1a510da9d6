import { printable } from '../../common/text.ts';
import type { TopFrame } from './top-reads.ts';

/** Most rows of each table. */
const BUDGETS_MAX = 12;
const TOP_MAX = 5;
const REASONS_MAX = 5;

/** The lines of a frame, each at most `columns` characters, at most `rows` of them. `staleSeconds`: the database has not answered for so long. */
export function drawFrame(
  frame: TopFrame,
  { columns, rows }: { readonly columns: number; readonly rows: number },
  staleSeconds: number | null = null,
): string[] {
  const lines = [
    `Tollway  ${frame.asOf.slice(0, 19).replace('T', ' ')} UTC${staleSeconds === null ? '' : `  THE DATABASE DOES NOT ANSWER: these numbers are ${seconds(staleSeconds)} old`}`,
    `Clicks   ${clicksLine(frame)}`,
    ...flowLines(frame),
    `Books    ${booksLine(frame)}`,
    ...problemLines(frame),
    '',
    ...table(['BUDGET', 'CURRENCY', 'SPENT', 'REMAINING', 'PER HOUR', 'DRY IN'], budgetRows(frame)),
    '',
    ...table(['AD', 'CAMPAIGN', 'CLICKS', 'CHARGED'], adRows(frame)),
    '',
    ...table(['NOT CHARGED', 'REASON', 'CLICKS'], reasonRows(frame)),
  ];
  return lines.slice(0, rows).map((line) => printable(line).slice(0, columns));
}

function clicksLine({ clicks }: TopFrame): string {
  if (clicks === null) return 'per second: not known yet';
  const span = Math.max(0.001, (Date.parse(clicks.asOf) - Date.parse(clicks.from)) / 1_000);
  const rate = (count: number) => (count / span).toFixed(1);
  return `${rate(clicks.charged)}/s charged, ${rate(clicks.overBudget)}/s over budget, ${rate(clicks.invalid)}/s invalid, ${rate(clicks.rejected)}/s rejected`;
}

function flowLines({ flow }: TopFrame): string[] {
  const waits = (count: number, where: string, oldest: number | null) =>
    count <= 0
      ? ''
      : `, ${count} wait in ${where}${oldest === null ? '' : `, the oldest for ${seconds(oldest)}`}`;
  const { accepted, relayed, settled, clickToChargeSeconds: delay } = flow;
  return [
    `Flow     ${accepted} accepted${waits(accepted - relayed, 'spools', flow.spoolOldestSeconds)}`,
    `         ${relayed} relayed${waits(relayed - settled, 'the broker', flow.brokerOldestSeconds)}`,
    `         ${settled} settled${delay === null ? '' : `, ${seconds(delay)} from click to charge`}`,
  ];
}

function booksLine({ asOf, books }: TopFrame): string {
  if (books === null) return 'not checked yet: a console checks them every minute';
  const { balanced, checkedAt, missing, inFlight, problems } = books;
  const age = seconds(Math.max(0, (Date.parse(asOf) - Date.parse(checkedAt)) / 1_000));
  const counts = missing === null ? 'the broker did not answer' : `${missing} missing, ${inFlight} in flight`;
  const state = balanced ? 'balance' : `DO NOT BALANCE (${problems[0]})`;
  return `${state}, checked ${age} ago, ${counts}`;
}

function problemLines({ problems }: TopFrame): string[] {
  if (problems.length === 0) return ['Problems none'];
  return problems.map(
    ({ code, severity, summary }, at) =>
      `${at === 0 ? 'Problems' : '        '} ${severity.toUpperCase()} ${code}: ${summary}`,
  );
}

/** Those that run dry first, then those that are exhausted, then those with the least left. */
function budgetRows({ asOf, budgets }: TopFrame): string[][] {
  const order = ({ exhaustedAt, exhausted, remaining }: TopFrame['budgets'][number]) =>
    exhaustedAt !== null && !exhausted
      ? Date.parse(exhaustedAt)
      : (exhausted ? 1e16 : 2e16) + Number(remaining);
  const active = budgets.filter(({ status }) => status === 'active').sort((a, b) => order(a) - order(b));
  return active
    .slice(0, BUDGETS_MAX)
    .map(({ name, currency, spent, remaining, perHour, exhausted, exhaustedAt }) => [
      ...[name, currency, spent, remaining, perHour ?? ''],
      exhausted ? 'exhausted' : dryIn(asOf, exhaustedAt),
    ]);
}

function dryIn(asOf: string, exhaustedAt: string | null): string {
  return exhaustedAt === null ? '' : seconds((Date.parse(exhaustedAt) - Date.parse(asOf)) / 1_000);
}

function adRows({ top }: TopFrame): string[][] {
  return top.ads
    .slice(0, TOP_MAX)
    .map(({ adId, adName, advertiserName, campaignName, clicks, charged, currency }) => [
      adName === null ? `${adId} ${advertiserName}` : `${adId} ${adName}, ${advertiserName}`,
      campaignName,
      String(clicks),
      `${charged} ${currency}`,
    ]);
}

function reasonRows({ reasons }: TopFrame): string[][] {
  return reasons.rows
    .slice(0, REASONS_MAX)
    .map(({ outcome, reason, clicks }) => [outcome, reason, String(clicks)]);
}

/** A length of time, such as `0.4 s`, `12 s`, `5 min`, `3 h`. */
function seconds(value: number): string {
  if (value < 10) return `${value.toFixed(1)} s`;
  if (value < 120) return `${Math.round(value)} s`;
  return value < 7_200 ? `${Math.round(value / 60)} min` : `${Math.round(value / 3_600)} h`;
}

/** A table with the first two columns to the left, the others to the right. */
function table(head: readonly string[], rows: readonly (readonly string[])[]): string[] {
  const all = [head, ...rows];
  const widths = head.map((_, column) => Math.max(...all.map((row) => row[column]?.length ?? 0)));
  return all.map((row) =>
    row
      .map((cell, column) =>
        column < 2 ? cell.padEnd(widths[column] ?? 0) : cell.padStart(widths[column] ?? 0),
      )
      .join('  ')
      .trimEnd(),
  );
}
