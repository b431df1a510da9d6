import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import ts from 'typescript';
import { describe, expect, it } from 'vitest';
import { ADVERTISER_LOCKED, STOPPING } from '../../brokers/event-source.ts';
import { ERROR_CODES } from '../../common/error-codes.ts';
import { TollwayError } from '../../common/errors.ts';
import { failureKind } from '../../common/postgres/postgres.ts';
import { cellsOf, readPage, rowsOf } from '../support/markdown.ts';

const ROOT = join(import.meta.dirname, '..', '..');
const FOLDERS =
  'ad-server,brokers,cli,common,console,contract,ledger,load-tests,migrations,processor,producer';

const page = readPage('docs/errors.md');
const rows = page.split('\n').flatMap((line) => {
  const [code = '', from = '', clicks = '', retried = '', remedy = ''] = cellsOf(line);
  return /^`[a-z_]+`$/.test(code) ? [{ code: code.slice(1, -1), from, clicks, retried, remedy }] : [];
});

/** Codes that are constants in the code. */
const NAMED: Readonly<Record<string, string>> = { ADVERTISER_LOCKED, STOPPING, LOST_RACE: 'lost_race' };

type Made = { readonly code: string; readonly retryable: boolean };

/** The code of a node that creates an error, and whether it is retryable. `null` for other nodes, and if the code is a variable. */
function madeBy(node: ts.Node): Made | null {
  const isError = ts.isNewExpression(node) && node.expression.getText() === 'TollwayError';
  const isExplained = ts.isCallExpression(node) && node.expression.getText() === 'explained';
  const [code, , last] = isError || isExplained ? (node.arguments ?? []) : [];
  const text = code && ts.isStringLiteral(code) ? code.text : NAMED[code?.getText() ?? ''];
  if (text === undefined) return null;
  const retryable = isExplained ? last?.getText() === 'true' : /\bretryable: true\b/.test(node.getText());
  return { code: text, retryable };
}

function literalsIn(path: string): { made: Made[]; texts: string[] } {
  const source = readFileSync(join(ROOT, path), 'utf8');
  const file = ts.createSourceFile(path, source, ts.ScriptTarget.Latest, true);
  const made: Made[] = [];
  const texts: string[] = [];
  const visit = (node: ts.Node): void => {
    const found = madeBy(node);
    if (found) made.push(found);
    if (ts.isStringLiteral(node)) texts.push(node.text);
    ts.forEachChild(node, visit);
  };
  visit(file);
  return { made, texts };
}

const sources = globSync(`{${FOLDERS}}/**/*.ts`, { cwd: ROOT })
  .filter((path) => path !== join('common', 'error-codes.ts'))
  .map(literalsIn);
const made = sources.flatMap((source) => source.made);
const texts = new Set(sources.flatMap((source) => source.texts));

describe('the code of an error', () => {
  it('is typed: an error with another code does not compile', () => {
    // @ts-expect-error The code is not in the list.
    expect(new TollwayError('no_such_code', 'x').code).toBe('no_such_code');
  });
});

describe('the codes of errors', () => {
  it('are sorted, and each is once in the list', () => {
    expect([...new Set(ERROR_CODES)].sort()).toEqual(ERROR_CODES);
  });

  it('are all in use', () => {
    const unused = ERROR_CODES.filter((code) => !texts.has(code));
    expect(unused).toEqual([]);
    expect(made.length).toBeGreaterThan(100);
  });
});

describe('docs/errors.md', () => {
  it('has one row for each code, and for no other', () => {
    expect(rows.map(({ code }) => code).sort()).toEqual(ERROR_CODES);
  });

  it.each(rows)('explains the source of $code, its effect on clicks, and what to do', (row) => {
    for (const cell of [row.from, row.clicks, row.remedy]) expect(cell).toMatch(/\S/);
    expect(row.retried).toMatch(/^(yes|no|depends)$/);
  });

  it.each(rows.filter(({ retried }) => retried !== 'depends'))(
    'states whether $code is retryable: $retried',
    ({ code, retried }) => {
      const others = made.filter((one) => one.code === code && one.retryable !== (retried === 'yes'));
      expect(others).toEqual([]);
    },
  );

  it('states for each SQLSTATE whether it is retried', () => {
    const states = rowsOf(page, 'SQLSTATE').map((row) => cellsOf(row));
    expect(states.length).toBeGreaterThan(5);
    for (const [cell = '', , retried] of states)
      for (const [, code] of cell.matchAll(/`(\w{5})`/g)) {
        const constraint = cell.includes('with a constraint') ? { constraint: 'c' } : {};
        const kind = failureKind(Object.assign(new Error(), { code, ...constraint }));
        expect(kind === 'transient' ? 'yes' : 'no', cell).toBe(retried);
      }
  });
});
