import ts from 'typescript';
import { describe, expect, it } from 'vitest';
import { readSources, SOURCE_FOLDERS, type SourceFile } from './support/source-folders.ts';

const FUNCTION_LINES_MAX = 70;
const FILE_LINES_MAX = 350;
const TEST_FILE_LINES_MAX = 500;

/** A longer file gives its reason in its first comment. */
const REASON = /^\/\*\*[^/]*\bLonger than (350|500) lines because /;

const files = readSources([...SOURCE_FOLDERS, 'test']);
const isTest = ({ path }: SourceFile) => path.startsWith('test/');

const linesOf = (text: string) => text.split('\n').length - 1;

function isTooLong(file: SourceFile): boolean {
  return (
    linesOf(file.text) > (isTest(file) ? TEST_FILE_LINES_MAX : FILE_LINES_MAX) && !REASON.test(file.text)
  );
}

/** The functions of a file with more lines than allowed, as `path: name`. What they contain counts. */
function longFunctions({ path, text }: SourceFile): string[] {
  if (linesOf(text) <= FUNCTION_LINES_MAX) return [];
  const source = ts.createSourceFile(path, text, ts.ScriptTarget.Latest, true);
  const lineAt = (position: number) => source.getLineAndCharacterOfPosition(position).line;
  const found: string[] = [];
  const visit = (node: ts.Node): void => {
    const hasBody = ts.isFunctionLike(node) && 'body' in node && node.body !== undefined;
    if (hasBody && !isSuite(node)) {
      const lines = lineAt(node.end) - lineAt(node.getStart()) + 1;
      if (lines > FUNCTION_LINES_MAX) found.push(`${path}: ${nameOf(node)}`);
    }
    ts.forEachChild(node, visit);
  };
  visit(source);
  return found;
}

/** Whether a function is the body of a `describe`, which only groups tests. */
function isSuite({ parent }: ts.Node): boolean {
  return ts.isCallExpression(parent) && /^describe\b/.test(parent.expression.getText());
}

function nameOf(node: ts.SignatureDeclaration): string {
  const { parent } = node;
  if (node.name) return node.name.getText();
  if (ts.isVariableDeclaration(parent) || ts.isPropertyAssignment(parent)) return parent.name.getText();
  const [title] = ts.isCallExpression(parent) ? parent.arguments : [];
  return title?.getText() ?? 'without a name';
}

describe('the source', () => {
  it(`has no function of more than ${FUNCTION_LINES_MAX} lines`, () => {
    expect(files.length).toBeGreaterThan(400);
    expect(files.flatMap(longFunctions)).toEqual([]);
  });

  it(`has no file of more than ${FILE_LINES_MAX} lines, in tests ${TEST_FILE_LINES_MAX}, without a reason`, () => {
    expect(files.filter(isTooLong).map(({ path }) => path)).toEqual([]);
  });
});

describe('a long function or file', () => {
  const body = (lines: number) => '  x();\n'.repeat(lines - 2);

  it('is noticed, whatever kind of function it is', () => {
    const functions = (lines: number) =>
      `function a() {\n${body(lines)}}\nconst b = () => {\n${body(lines)}};\nclass C {\n  d() {\n${body(lines)}}\n}\n`;
    expect(longFunctions({ path: 'f.ts', text: functions(FUNCTION_LINES_MAX) })).toEqual([]);
    expect(longFunctions({ path: 'f.ts', text: functions(FUNCTION_LINES_MAX + 1) })).toEqual([
      'f.ts: a',
      'f.ts: b',
      'f.ts: d',
    ]);
  });

  it('is noticed in a suite, which may be longer itself', () => {
    const text = `describe.each([1])('s', () => {\n  it('t', () => {\n${body(FUNCTION_LINES_MAX + 1)}});\n});\n`;
    expect(longFunctions({ path: 'f.test.ts', text })).toEqual([`f.test.ts: 't'`]);
  });

  it('is allowed for a file that gives its reason first', () => {
    const text = 'x();\n'.repeat(FILE_LINES_MAX + 1);
    expect(isTooLong({ path: 'f.ts', text })).toBe(true);
    expect(isTooLong({ path: 'test/f.ts', text })).toBe(false);
    expect(
      isTooLong({
        path: 'f.ts',
        text: `/** A table. Longer than 350 lines because it is one table. */\n${text}`,
      }),
    ).toBe(false);
  });
});
