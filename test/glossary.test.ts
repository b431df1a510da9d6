import { globSync, readFileSync, statSync } from 'node:fs';
import { basename, join } from 'node:path';
import ts from 'typescript';
import { expect, it } from 'vitest';

const ROOT = join(import.meta.dirname, '..');
const PAGE = 'docs/glossary.md';
/** Files whose words are not ours: a licence, a code of conduct, locked versions, data of others, profiles. */
const FOREIGN =
  /^(LICENSE|CODE_OF_CONDUCT\.md|package-lock\.json|test\/vectors\/|docs\/pictures\/(charge|redirect)\.svg$)/;
/** The page that lists the words, and this test. */
const EXEMPT = new Set([PAGE, 'test/glossary.test.ts']);

/** Folders that no commit holds, or that git itself writes. */
const UNTRACKED = new Set(['.git', 'node_modules', '.tollway', 'dist', 'build', 'coverage']);

const files = globSync(['*', '.*', '*/**', '.github/**', '.ci/**'], {
  cwd: ROOT,
  exclude: (path) => UNTRACKED.has(basename(path)),
})
  .filter((path) => !FOREIGN.test(path) && !EXEMPT.has(path) && statSync(join(ROOT, path)).isFile())
  .map((path) => ({ path, text: readFileSync(join(ROOT, path), 'utf8') }));

/** The left column of the page's last table: in backticks what may stand nowhere, in italics what may not be a name. */
function readWords(): { everywhere: string[]; names: string[] } {
  const section = readFileSync(join(ROOT, PAGE), 'utf8').split('\n## Words not used\n')[1] ?? '';
  const cells = [...section.matchAll(/^\| (.+?) \| .+ \|$/gm)].map(([, cell = '']) => cell).join(', ');
  return {
    everywhere: [...cells.matchAll(/`([^`]+)`/g)].map(([, word = '']) => word),
    names: [...cells.matchAll(/\*([^*]+)\*/g)].map(([, word = '']) => word),
  };
}

const { everywhere, names } = readWords();

/** `path:line: text` of each line that holds one of the words. */
function linesWith(words: readonly string[], sources: readonly { path: string; text: string }[]): string[] {
  const pattern = new RegExp(`(?<![\\w-])(${words.join('|')})(?![\\w-])`, 'i');
  return sources.flatMap(({ path, text }) =>
    text.split('\n').flatMap((line, index) => (pattern.test(line) ? `${path}:${index + 1}: ${line}` : [])),
  );
}

/** `path: name` of each declaration of a TypeScript file whose name is one of the words. Names of others, such as `url.origin`, are no declarations. */
function namesIn(words: ReadonlySet<string>, path: string, text: string): string[] {
  const found: string[] = [];
  const visit = (node: ts.Node) => {
    const { name } = node as { name?: ts.Node };
    const isDeclared = name !== undefined && ts.isIdentifier(name) && !ts.isPropertyAccessExpression(node);
    if (isDeclared && words.has(name.text)) found.push(`${path}: ${name.text}`);
    ts.forEachChild(node, visit);
  };
  visit(ts.createSourceFile(path, text, ts.ScriptTarget.Latest));
  return found;
}

it('the files of the repository are read', () => {
  const paths = files.map(({ path }) => path);
  expect(paths).toEqual(
    expect.arrayContaining([
      'README.md',
      '.env.example',
      '.github/workflows/ci.yml',
      'ledger/charge/balances.ts',
    ]),
  );
  expect(paths.filter((path) => path.includes('node_modules'))).toEqual([]);
});

it('the glossary lists the words', () => {
  expect(everywhere).toEqual(expect.arrayContaining(['openHome', 'rehearse', 'catalogue']));
  expect(names).toEqual(expect.arrayContaining(['home', 'origin', 'asked']));
});

it('no file holds a word that the glossary replaces', () => {
  expect(linesWith(everywhere, files)).toEqual([]);
});

it('no file is named with such a word', () => {
  const anywhere = new RegExp(`(^|[/.-])(${everywhere.join('|')})s?([/.-]|$)`, 'i');
  const whole = new RegExp(`(^|/)(${names.join('|')})s?(\\.test)?\\.\\w+$`, 'i');
  expect(files.map(({ path }) => path).filter((path) => anywhere.test(path) || whole.test(path))).toEqual([]);
});

it('nothing in the code is named with such a word', () => {
  const words = new Set(names);
  const found = files
    .filter(({ path }) => path.endsWith('.ts'))
    .flatMap(({ path, text }) => namesIn(words, path, text));
  expect(found).toEqual([]);
});

it('no table or column is named with such a word', () => {
  const sql = files
    .filter(({ path }) => path.startsWith('migrations/') && path.endsWith('.sql'))
    .map(({ path, text }) => ({ path, text: text.replace(/--.*$/gm, '') }));
  expect(linesWith(names, sql)).toEqual([]);
});

it('words and names are recognised', () => {
  expect(linesWith(['witness'], [{ path: 'a', text: 'a Witness here' }])).toHaveLength(1);
  expect(linesWith(['tally'], [{ path: 'a', text: 'vitally' }])).toEqual([]);
  expect(namesIn(new Set(['asked']), 'a.ts', '// asked\nconst asked = "asked"; url.asked;')).toEqual([
    'a.ts: asked',
  ]);
});
