import { readFileSync } from 'node:fs';
import { join } from 'node:path';

const root = join(import.meta.dirname, '..', '..');

/** The text of a page, such as `docs/cli.md`. */
export function readPage(path: string): string {
  return readFileSync(join(root, path), 'utf8');
}

/** The rows of the table of a page whose first header cell is `headerCell`. */
export function rowsOf(page: string, headerCell: string): string[] {
  const lines = page.split('\n');
  const start = lines.findIndex((line) => line.startsWith(`| ${headerCell} |`));
  if (start < 0) throw new Error(`Expected a table that begins with "${headerCell}"`);
  const end = lines.findIndex((line, index) => index > start && !line.startsWith('|'));
  return lines.slice(start + 2, end);
}

/** The texts of the code blocks of a page in a language. */
export function codeBlocksOf(page: string, language: string): string[] {
  return [...page.matchAll(/^ *```([a-z]+)\n(.*?)^ *```$/gms)].flatMap(([, name, text = '']) =>
    name === language ? [text] : [],
  );
}

/** The cells of a row; `\|` is a bar in a cell. */
export function cellsOf(row: string): string[] {
  return row
    .split(/(?<!\\)\|/)
    .slice(1, -1)
    .map((cell) => cell.trim().replaceAll('\\|', '|'));
}

/** The headings of a page with the anchor that GitHub gives them. Lines of code blocks are no headings. */
export function headingsOf(page: string): { title: string; anchor: string; level: number }[] {
  const seen = new Map<string, number>();
  return withoutCode(page)
    .split('\n')
    .flatMap((line) => {
      const [, marks = '', title = ''] = /^(#{1,6}) (.+)$/.exec(line) ?? [];
      if (title === '') return [];
      const base = title
        .toLowerCase()
        .replace(/[^\p{L}\p{N}_ -]/gu, '')
        .replaceAll(' ', '-');
      const count = seen.get(base) ?? 0;
      seen.set(base, count + 1);
      return [{ title, level: marks.length, anchor: count === 0 ? base : `${base}-${count}` }];
    });
}

/** The targets of the links of a page. */
export function linksOf(page: string): string[] {
  return [...withoutCode(page).matchAll(/\]\(([^()\s]+)\)/g)].map(([, target = '']) => target);
}

function withoutCode(page: string): string {
  return page.replace(/^ *```.*?^ *```/gms, '');
}
