import { globSync } from 'node:fs';
import type { Argument, Command, Option } from 'commander';
import { describe, expect, it } from 'vitest';
import { loadProgram } from '../../cli/program.ts';
import { ROOT } from '../support/imports.ts';
import { headingsOf, readPage, rowsOf } from '../support/markdown.ts';

const page = readPage('docs/cli.md');

/** An argument as the usage of its command has it, as in `[id...]`. */
function usageOf(argument: Argument): string {
  const name = argument.variadic ? `${argument.name()}...` : argument.name();
  return argument.required ? `<${name}>` : `[${name}]`;
}

function defaultOf({ mandatory, defaultValue, defaultValueDescription }: Option): string {
  if (mandatory) return 'required';
  if (defaultValue === undefined) return '';
  return defaultValueDescription ?? `\`${defaultValue}\``;
}

/** What a command prints its result as: the choices of its `--format`, if it has `--json` beside it. */
function formatsOf({ options }: Command): readonly string[] {
  if (!options.some(({ long }) => long === '--json')) return [];
  return options.find(({ long }) => long === '--format')?.argChoices ?? [];
}

/** The rows of a command's table; every command but the exports has `--format` and `--json`, which the page says once. */
function tableOf(command: Command): string[] {
  const { registeredArguments, options } = command;
  const shared = formatsOf(command).length > 0 ? ['--format', '--json'] : [];
  return [
    ...registeredArguments.map(
      (argument) =>
        `| \`${usageOf(argument)}\` | ${argument.required ? 'required' : ''} | ${argument.description} |`,
    ),
    ...options
      .filter(({ long }) => !shared.includes(long ?? ''))
      .map((option) => `| \`${option.flags}\` | ${defaultOf(option)} | ${option.description} |`),
  ];
}

type Described = { readonly heading: string; readonly command: Command };

/** All commands and groups below a command, in their order, with the headings that the page gives them. */
function describeAll(parent: Command, path = '', marks = '##'): Described[] {
  return parent.commands.flatMap((command) => {
    const name = `${path}${command.name()}`;
    const usage = command.registeredArguments.map((argument) => ` ${usageOf(argument)}`).join('');
    return [
      { heading: `${marks} \`${name}${usage}\``, command },
      ...describeAll(command, `${name} `, `${marks}#`),
    ];
  });
}

function helpOf(command: Command): string {
  let help = '';
  const { writeOut } = command.configureOutput();
  command.configureOutput({
    writeOut: (text) => {
      help += text;
    },
  });
  command.outputHelp();
  command.configureOutput(writeOut ? { writeOut } : {});
  return help;
}

const exitCode1Of = (text: string) => /^Exit code 1 if .*$/m.exec(text)?.[0] ?? null;
const program = await loadProgram([]);
const commands = describeAll(program);
const sections = page.split(/^(?=##+ )/m);

describe('docs/cli.md', () => {
  it('has a heading with the arguments of every command, in the order of --help, and no other', () => {
    expect(commands.length).toBeGreaterThan(30);
    expect(
      headingsOf(page).flatMap(({ title, level }) => (level > 1 ? [`${'#'.repeat(level)} ${title}`] : [])),
    ).toEqual(commands.map(({ heading }) => heading));
  });

  it.each(commands)('says of $heading what --help says', ({ heading, command }) => {
    const section = sections.find((text) => text.startsWith(`${heading}\n`)) ?? '';
    expect(section).toContain(`\n\n${command.description()}.\n`);
    const rows = section.includes('| argument or option |') ? rowsOf(section, 'argument or option') : [];
    expect(rows).toEqual(tableOf(command));
    expect(exitCode1Of(section)).toBe(exitCode1Of(helpOf(command)));
  });

  it('says which command has no --format, and which have no CSV', () => {
    const ends = commands.filter(({ command }) => command.commands.length === 0);
    const without = ends.filter(({ command }) => formatsOf(command).length === 0);
    expect(without.map(({ heading }) => heading)).toEqual(['## `export`', '### `audit export`']);
    expect(page).toContain('Every command but `export` and `audit export` has `--format`');
    const [, listed = ''] = /print no rows and have no `csv`:([^.]*)\./.exec(page) ?? [];
    expect(listed.match(/(?<=`)[a-z][a-z -]*(?=`)/g)).toEqual(
      ends.flatMap(({ heading, command }) =>
        formatsOf(command).length > 0 && !formatsOf(command).includes('csv')
          ? (/[a-z][a-z -]*[a-z]/.exec(heading)?.[0] ?? '')
          : [],
      ),
    );
  });
});

describe('the help of a command', () => {
  it.each(commands.filter(({ command }) => command.commands.length === 0))(
    '$heading has examples that name it',
    ({ command }) => {
      const path = `${command.parent === program ? '' : `${command.parent?.name()} `}${command.name()}`;
      const [, examples = ''] = helpOf(command).split('\nExamples:\n');
      const lines = examples.trim().split('\n');
      for (const line of lines) expect(`${line.trim()} `).toMatch(new RegExp(`^npx tollway ${path} `));
    },
  );

  it.each(commands)('$heading begins with a capital letter and is a full phrase', ({ command }) => {
    expect(command.description()).toMatch(/^[A-Z][a-z]+ \S/);
    for (const { description } of [...command.registeredArguments, ...command.options])
      expect(description).toMatch(/^\S+ \S/);
  });
});

/** What a text that shows `npx tollway …` names that does not exist: a command or an option. */
function unknownIn(shown: string): string[] {
  let command: Command = program;
  const words = shown.split(/\s+/);
  while (command.commands.length > 0 && /^[a-z][a-z-]*$/.test(words[0] ?? '')) {
    const child = command.commands.find((one) => one.name() === words[0]);
    if (child === undefined) return [words[0] ?? ''];
    command = child;
    words.shift();
  }
  const known = new Set(['--help', ...command.options.map(({ long }) => long)]);
  return words.filter((word) => /^--[a-z]/.test(word) && !known.has(word));
}

describe('the commands that pages and messages show', () => {
  const files = globSync(
    [
      '*.md',
      'docs/**/*.md',
      'examples/*.md',
      'deploy/**/*.{yml,yaml,tf}',
      '{ad-server,brokers,cli,common,console,ledger,processor,producer}/**/*.ts',
    ],
    { cwd: ROOT },
  );
  const shown = files.flatMap((path) =>
    [...readPage(path).matchAll(/npx tollway ([^`'"\n|>#);,$]+)/g)].map(([, text = '']) => ({
      path,
      text: text.trim(),
    })),
  );

  it('exist, with their options', () => {
    expect(shown.length).toBeGreaterThan(60);
    const unknown = shown.map(({ path, text }) => ({ path, text, unknown: unknownIn(text) }));
    expect(unknown.filter((one) => one.unknown.length > 0)).toEqual([]);
  });
});
