import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { cellsOf, headingsOf, linksOf, readPage, rowsOf } from './support/markdown.ts';

const root = join(import.meta.dirname, '..');
// Read as a text: an import would load what the benchmarks start, and make this no unit test.
const benches = new Set(
  [
    ...readFileSync(join(root, 'load-tests/bench/benches.ts'), 'utf8').matchAll(
      /^ {2}'?([a-z0-9-]+)'?: bench/gm,
    ),
  ].map(([, name]) => name),
);
const FOLDER = 'docs/decisions';
const LINES_MAX = 80;
const records = readdirSync(join(root, FOLDER))
  .filter((name) => name !== 'README.md')
  .sort()
  .map((name) => ({ name, page: readPage(`${FOLDER}/${name}`) }));

/** The text of a record below a heading of level 2, up to the next. */
function sectionOf(page: string, title: string): string {
  return page.split(`\n## ${title}\n`)[1]?.split('\n## ')[0] ?? '';
}

describe('docs/decisions/README.md', () => {
  it('lists every record with its number, title and a reason', () => {
    const rows = rowsOf(readPage(`${FOLDER}/README.md`), 'number').map(cellsOf);
    const expected = records.map(({ name, page }, index) => {
      const title = headingsOf(page)[0]?.title.replace(/^\d+\. /, '');
      return [String(index + 1), `[${title}](${name})`];
    });
    expect(rows.map((row) => row.slice(0, 2))).toEqual(expected);
    for (const [number, , reason = ''] of rows) expect(reason.length, number).toBeGreaterThan(20);
  });
});

describe.each(records)('$name', ({ name, page }) => {
  it('has its number, a title, and four sections in their order', () => {
    const [title, ...sections] = headingsOf(page).map((heading) => heading.title);
    expect(name).toMatch(/^\d{4}-[a-z0-9-]+\.md$/);
    expect(title).toMatch(new RegExp(`^${Number(name.slice(0, 4))}\\. [A-Z]`));
    expect(sections).toEqual(['Context', 'Decision', 'Consequences', 'Measured']);
    for (const section of sections) expect(sectionOf(page, section).trim(), section).not.toBe('');
    expect(page.split('\n').length - 1).toBeLessThanOrEqual(LINES_MAX);
  });

  it('links the files that implement it', () => {
    const files = linksOf(sectionOf(page, 'Decision')).filter((target) => /\.\.\/\.\.\/.+\w$/.test(target));
    expect(files).not.toEqual([]);
  });

  it('names only benchmarks and tests that exist', () => {
    for (const [, bench] of page.matchAll(/--only ([\w-]+)/g)) expect(benches).toContain(bench);
    for (const [path] of page.matchAll(/test\/[\w/-]+\.test\.ts/g))
      expect(existsSync(join(root, path)), path).toBe(true);
  });
});
