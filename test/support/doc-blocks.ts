import { globSync } from 'node:fs';
import { ROOT } from './imports.ts';
import { readPage } from './markdown.ts';

/** A block of commands of a page. */
export type CommandBlock = {
  readonly page: string;
  /** Its first command without a comment, which identifies it on its page. */
  readonly first: string;
  /** All commands, without the marks. */
  readonly commands: string;
  /** What a reader must have to run them, from the line `# needs …` of the block. */
  readonly needs: string | null;
  /** What the page says the commands print: the next block, if it has no language. */
  readonly output: string | null;
};

const SHELLS = new Set(['sh', 'bash', 'console', 'shell']);
const NEEDS = /^# needs (.+)$/;

type Fence = { readonly language: string; readonly text: string; readonly before: string };

/** The fenced blocks of a page, each with the text since the block before it. Indentation is removed. */
function fencesOf(page: string): Fence[] {
  let end = 0;
  return [...page.matchAll(/^( *)```(\w*)[^\n]*\n(.*?)^ *```$/gms)].map((match) => {
    const [whole, indent = '', language = '', text = ''] = match;
    const before = page.slice(end, match.index);
    end = match.index + whole.length;
    const lines = text
      .split('\n')
      .map((line) => (line.startsWith(indent) ? line.slice(indent.length) : line));
    return { language, text: lines.join('\n'), before };
  });
}

/** The output of the block at `index`: the block after it, unless that has a language or comes after a heading. */
function outputAfter(fences: readonly Fence[], index: number): string | null {
  const next = fences[index + 1];
  return next?.language === '' && !/^#/m.test(next.before) ? next.text : null;
}

/** The blocks of commands of one page, in their order. */
export function commandBlocksOf(path: string, page = readPage(path)): CommandBlock[] {
  const fences = fencesOf(page);
  return fences.flatMap(({ language, text }, index) => {
    if (!SHELLS.has(language)) return [];
    const lines = text.trimEnd().split('\n');
    const needs = lines.flatMap((line) => NEEDS.exec(line)?.[1] ?? [])[0] ?? null;
    const commands = lines.filter((line) => !NEEDS.test(line));
    const first = (commands[0] ?? '').replace(/ +# .*$/, '');
    return [{ page: path, first, commands: commands.join('\n'), needs, output: outputAfter(fences, index) }];
  });
}

/** The blocks of commands of the README, of all pages in `docs/` and of the examples. */
export function commandBlocks(): CommandBlock[] {
  return ['README.md', ...globSync('docs/**/*.md', { cwd: ROOT }).sort(), 'examples/README.md'].flatMap(
    (path) => commandBlocksOf(path),
  );
}

/** The ids of clicks and other things in a text. */
export const UUID = /\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b/g;
/** Values that differ in each run: link tokens, ids, times, ports, durations. */
const VOLATILE: readonly (readonly [RegExp, string])[] = [
  [/\b1\.k1\.\d+(?:\.[0-9a-f]{32}\.\d+)?\.[\w-]{22}(?![\w-])/g, 'TOKEN'],
  [UUID, 'UUID'],
  [/\b\d{4}-\d\d-\d\dT[\d:.]+Z/g, 'TIME'],
  [/\b(localhost|127\.0\.0\.1):\d+/g, '$1:PORT'],
  [/#login=[\w-]{43}(?![\w-])/g, '#login=TOKEN'],
  [/\b\d+\.\d s\b/g, 'SECONDS'],
];
const NUMBER: readonly [RegExp, string] = [/\d+(?:\.\d+)?/g, 'N'];

/** Whether two outputs with other numbers are alike. */
export type Numbers = 'exact' | 'masked';

/** The lines of an output without empty ones, with values that differ in each run masked, and so with one space for many. */
export function comparableLines(output: string, numbers: Numbers): string[] {
  const masks = numbers === 'exact' ? VOLATILE : [...VOLATILE, NUMBER];
  const masked = masks.reduce((kept, [pattern, word]) => kept.replaceAll(pattern, word), output);
  return masked
    .split(/\r?\n/)
    .map((line) => line.trim().replaceAll(/ +/g, ' '))
    .filter((line) => line !== '');
}

/** The lines of an output with `…` for those that a page leaves out with `…`: equal to the lines of the page if the page is right. */
export function abridged(lines: readonly string[], shown: readonly string[]): string[] {
  const kept: string[] = [];
  let at = 0;
  for (const [index, line] of shown.entries()) {
    if (line !== '…') {
      kept.push(...lines.slice(at, at + 1));
      at += 1;
      continue;
    }
    const next = shown[index + 1];
    const found = next === undefined ? lines.length : lines.indexOf(next, at);
    if (found < 0) break;
    kept.push(line);
    at = found;
  }
  return [...kept, ...lines.slice(at)];
}
