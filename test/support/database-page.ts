import { cellsOf, readPage } from './markdown.ts';

/** The columns of a public table as `docs/database.md` lists them: name, type and whether it may be null. */
export type DocumentedTable = { readonly table: string; readonly columns: readonly string[] };

const page = readPage('docs/database.md');

/** The part of the page below a heading of level 2. */
function section(title: string): string {
  const [, rest] = page.split(`\n## ${title}\n`);
  const text = rest?.split(/\n## /)[0];
  if (text === undefined) throw new Error(`Expected a section "${title}" in docs/database.md`);
  return text;
}

/** The rows of the first table of a text, as cells. */
function tableOf(text: string): string[][] {
  const lines = text.split('\n').filter((line) => line.startsWith('|'));
  return lines.slice(2).map((row) => cellsOf(row).map((cell) => cell.replaceAll('`', '')));
}

export function documentedTables(): DocumentedTable[] {
  return section('Public tables')
    .split(/^### /m)
    .slice(1)
    .map((text) => {
      const [table = ''] = text.split('\n');
      return {
        table,
        columns: tableOf(text).map(([name, type, nullable]) => `${name} ${type} ${nullable}`),
      };
    });
}

/** Columns that the page lists as internal, as `table.column`. */
export function internalColumns(): string[] {
  return section('Public tables')
    .split(/^### /m)
    .slice(1)
    .flatMap((text) => {
      const [table = ''] = text.split('\n');
      const internal = tableOf(text).filter(([, , , meaning = '']) => meaning.startsWith('internal'));
      return internal.map(([column]) => `${table}.${column}`);
    });
}

export function internalTables(): string[] {
  return tableOf(section('Internal tables')).flatMap(([names = '']) => names.split(', '));
}

/** The settings that the page gives for sessions of `tollway_reporting`: name and value. */
export function reportingSettings(): [string, string][] {
  return tableOf(section('Connect')).map(([name = '', value = '']) => [name, value]);
}

const DAY_MS = 86_400_000;

/**
 * The queries of the page, each with its first words before it as a name. The dates of the page become days around `nowMs`: the first of
 * January eight days ago, the last of it today, the first of February tomorrow.
 */
export function pageQueries(nowMs: number): { name: string; sql: string }[] {
  const dates: Record<string, number> = {
    '2026-01-01': nowMs - 8 * DAY_MS,
    '2026-01-31': nowMs,
    '2026-02-01': nowMs + DAY_MS,
  };
  return [...page.matchAll(/^(.+)\n\n```sql\n([\s\S]*?)```/gm)].map(([, name = '', sql = '']) => ({
    name,
    sql: sql.replace(/\d{4}-\d\d-\d\d/g, (date) => {
      const ms = dates[date];
      if (ms === undefined) throw new Error(`Expected one of ${Object.keys(dates).join(', ')}, got ${date}`);
      return new Date(ms).toISOString().slice(0, 10);
    }),
  }));
}
