import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import ts from 'typescript';
import { describe, expect, it } from 'vitest';
import { PROBLEM_KINDS } from '../ledger/reconciliation/problem.ts';
import { cellsOf, headingsOf, readPage, rowsOf } from './support/markdown.ts';

const root = join(import.meta.dirname, '..');
const runbook = readPage('docs/runbook.md');
const sources = globSync(
  '{ad-server,brokers,cli,common,console,ledger,migrations,processor,producer}/**/*.ts',
  {
    // The live page runs in a browser and logs nothing.
    exclude: ['console/page/**'],
    cwd: root,
  },
);
const RULES = ['deploy/prometheus/alerts.yml', 'deploy/kubernetes/prometheus-operator/reconcile-alert.yaml'];

/** A text of the code as the runbook prints it, with `…` for each value; `null` where an expression is no text. */
function textOf(node: ts.Expression): string | null {
  if (ts.isStringLiteralLike(node)) return node.text;
  if (ts.isTemplateExpression(node))
    return node.head.text + node.templateSpans.map(({ literal }) => `…${literal.text}`).join('');
  if (!ts.isBinaryExpression(node)) return null;
  const [left, right] = [textOf(node.left), textOf(node.right)];
  return left === null || right === null ? null : left + right;
}

/** The expression that a node gives to the log as a message of level `warn` or above, if it does. */
function messageOf(node: ts.Node): ts.Expression | undefined {
  // The messages of failures that are retried; `recovered` says that they are over. A count or a schema of it is no message.
  if (ts.isPropertyAssignment(node) && node.name.getText() === 'failed')
    return ts.isNumericLiteral(node.initializer) || ts.isCallExpression(node.initializer)
      ? undefined
      : node.initializer;
  if (!ts.isCallExpression(node)) return undefined;
  if (node.expression.getText() === 'this.blocked.block') return node.arguments[2];
  if (/\b(?:logger|request\.log)\.(?:warn|error|fatal)$/.test(node.expression.getText()))
    return node.arguments.at(-1);
  return undefined;
}

function messagesIn(path: string): { text: string | null; code: string }[] {
  const file = ts.createSourceFile(
    path,
    readFileSync(join(root, path), 'utf8'),
    ts.ScriptTarget.Latest,
    true,
  );
  const found: { text: string | null; code: string }[] = [];
  const visit = (node: ts.Node): void => {
    const message = messageOf(node);
    if (message) found.push({ text: textOf(message), code: `${path}: ${message.getText()}` });
    if (ts.isVariableDeclaration(node) && node.name.getText() === 'notice' && node.initializer)
      found.push({ text: textOf(node.initializer), code: `${path}: notice` });
    ts.forEachChild(node, visit);
  };
  visit(file);
  return found;
}

describe('docs/runbook.md', () => {
  const alerts = RULES.flatMap((path) =>
    [...readPage(path).matchAll(/- alert: (\w+)/g)].map(([, name = '']) => name),
  );

  it('has a section for every alert, and for no other', () => {
    const sections = headingsOf(runbook).map(({ title }) => title);
    expect(sections.filter((title) => title.startsWith('Tollway'))).toEqual(alerts);
  });

  it.each(alerts)(
    'says of %s what it means, how to confirm it, what to do, and how urgent it is',
    (alert) => {
      const [section = ''] = runbook.split(`### ${alert}\n`)[1]?.split('\n### ') ?? [];
      for (const part of ['**For clicks:**', '**Confirm:**', '**Do:**']) expect(section).toContain(part);
      const severity = RULES.map(readPage)
        .flatMap((text) => text.split('- alert: '))
        .find((text) => text.startsWith(`${alert}\n`))
        ?.match(/severity: (\w+)/)?.[1];
      expect(section).toContain(`Severity: ${severity}.`);
    },
  );

  it('says where the live page sends an operator for a part that runs and is not ready, that a restart does not help', () => {
    const [section = ''] = runbook.split('### TollwayPartDown\n')[1]?.split('\n### ') ?? [];
    expect(section).toContain('TollwayPartNotReady');
    expect(section).toContain('do not restart it');
    for (const alert of ['TollwayBrokerDown', 'TollwayClicksUnrecorded', 'TollwayDatabaseDown'])
      expect(section).toContain(`[${alert}](#${alert.toLowerCase()})`);
  });

  it('says what to do for every kind of problem that a reconciliation finds', () => {
    const rows = rowsOf(runbook, 'it begins with').map(cellsOf);
    expect(rows.map(([kind]) => kind)).toEqual(PROBLEM_KINDS.map((kind) => `\`${kind} …\``));
    for (const [kind, ...cells] of rows) for (const cell of cells) expect(cell, kind).toMatch(/\S/);
  });

  it('has every message that the code logs at warn or above', () => {
    const messages = sources.flatMap(messagesIn);
    expect(messages.length).toBeGreaterThan(35);
    const lines = new Set(runbook.split('\n'));
    const missing = messages.filter(({ text }) => text !== null && !lines.has(`**${text}**`));
    expect(missing).toEqual([]);
  });

  it('lists no log line that the code does not have', () => {
    const known = new Set(sources.flatMap(messagesIn).map(({ text }) => text));
    // Made by `partitionsProblem` and `describeMisspelt`, which return their texts.
    const returned = /^(KAFKA_PARTITIONS: |The environment variable )/;
    const listed = runbook.split('\n').flatMap((line) => /^\*\*(.+)\*\*$/.exec(line)?.[1] ?? []);
    expect(listed.filter((text) => !known.has(text) && !returned.test(text))).toEqual([]);
  });

  it('knows every message that is made elsewhere than where it is logged', () => {
    const made = sources.flatMap(messagesIn).flatMap(({ text, code }) => (text === null ? [code] : []));
    expect(made.toSorted()).toEqual([
      'ad-server/blocked-spools.ts: message',
      'brokers/kafka/source.ts: few',
      'brokers/kafka/source.ts: start.notice',
      'cli/start/assert-broker.ts: few',
      'common/config/misspelt-settings.ts: describeMisspelt(misspelt)',
      'migrations/migrate.ts: message',
      'migrations/migrate.ts: message',
      'processor/functions/open-function.ts: err.message',
    ]);
  });
});
