import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { commandBlocksOf, UUID } from '../support/doc-blocks.ts';
import { runCommands, untilDayIsLong, untilSettled } from '../support/page-commands.ts';
import { isSkipped } from '../support/skipped.ts';
import { stackEnv, startStack, type TestStack } from '../support/stack.ts';
import { suiteFolder } from '../support/temporary-folder.ts';
import { until } from '../support/until.ts';

// The commands of docs/campaigns.md, in their order, with `kill -9` of everything in the middle of the spike. In the end the report, the
// statement and the balance are compared with a plain sum of the export.

const PAGE = 'docs/campaigns.md';
/** The block in whose middle everything is killed. */
const SPIKE = 'xargs -P 4 -n 25';

type Row = {
  readonly clickId: string;
  readonly adId: number;
  readonly publisher: string | null;
  readonly outcome: string;
  readonly reason: string | null;
  readonly charged: string;
};

const noCurl = spawnSync('curl', ['--version']).error ? 'a month of a small network: install curl' : null;

describe.skipIf(isSkipped(noCurl))('the month of docs/campaigns.md', () => {
  const folder = suiteFolder();
  let env: NodeJS.ProcessEnv;
  let stack: TestStack;
  /** Click ids that answers have named. */
  const answered = new Set<string>();
  let rows: readonly Row[];

  beforeAll(async () => {
    env = await stackEnv(folder);
    await untilDayIsLong();
    stack = await startStack(env);
  }, 300_000);
  afterAll(() => stack.stop());

  const run = (commands: string) => runCommands(commands, folder, env);
  const answers = () => {
    const file = join(folder, 'answers.txt');
    return existsSync(file) ? readFileSync(file, 'utf8') : '';
  };
  const settled = () => untilSettled(stack);
  const collectIds = (answers: string) => {
    for (const [, id] of answers.matchAll(/^Tollway-Click: ([0-9a-f-]{36})\r$/gm)) answered.add(id ?? '');
  };
  const json = async <T>(...args: string[]) => {
    const { stdout, stderr, code } = await stack.tollway(...args, '--json');
    expect(code, stderr).toBe(0);
    return JSON.parse(stdout) as T;
  };

  it('runs as the page has it, through kill -9 of everything', { timeout: 300_000 }, async () => {
    const printedIds = new Map<string, string>();
    const replaceIds = (commands: string) =>
      [...printedIds].reduce((script, [shown, printed]) => script.replaceAll(shown, printed), commands);
    for (const { commands, first, output: shown } of commandBlocksOf(PAGE)) {
      const running = run(replaceIds(commands));
      if (first.startsWith(SPIKE)) {
        await until('the first answers', () => answers().length > 2_000);
        await stack.killTree();
        await running; // curl could not connect to the killed server
        collectIds(answers());
        expect(answered.size).toBeGreaterThan(5);
        stack = await startStack(env);
        // The links that were not clicked yet, and again those that were.
        expect((await run(commands)).code).toBe(0);
      } else {
        const { output, errors, code } = await running;
        expect(code, `${commands}\n${errors}`).toBe(0);
        collectIds(output);
        const found = output.match(UUID) ?? [];
        for (const [index, id] of (shown?.match(UUID) ?? []).entries())
          printedIds.set(id, found[index] ?? id);
      }
      await settled();
    }
    collectIds(answers());
    const { stdout } = await stack.tollway('export', '--advertiser', '4');
    rows = stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as Row);
  });

  const clicks = () => rows.filter(({ outcome }) => outcome !== 'credit');
  const sum = (of: readonly Row[]) =>
    of.reduce((micros, { charged }) => micros + Math.round(Number(charged) * 1e6), 0);
  const micros = (amount: string) => Math.round(Number(amount) * 1e6);

  it('has every answered click once', () => {
    const ids = clicks().map(({ clickId }) => clickId);
    expect(new Set(ids).size).toBe(ids.length);
    expect([...answered].filter((id) => !ids.includes(id))).toEqual([]);
    expect(new Set(clicks().map(({ reason }) => reason))).toEqual(new Set([null, 'daily_cap', 'repeat']));
  });

  it('spends no more than the caps', async () => {
    const { spent } = await json<{ spent: string }>('campaign', 'show', '4');
    expect(micros(spent)).toBe(sum(clicks()));
    expect(sum(clicks())).toBeLessThanOrEqual(80e6);
    expect(sum(clicks())).toBeGreaterThan(50e6);
  });

  it('reports what a plain sum of the export is', async () => {
    type Report = {
      rows: {
        adId: number;
        publisher: string;
        outcome: string;
        clicks: number;
        charged: string;
        corrected: string;
      }[];
    };
    const report = await json<Report>(
      'report',
      '--since',
      '3d',
      '--advertiser',
      '4',
      '--by',
      'ad,publisher,outcome',
    );
    const groups = new Map<string, Row[]>();
    for (const row of rows) {
      const key = `${row.adId} ${row.publisher} ${row.outcome === 'credit' ? 'charged' : row.outcome}`;
      groups.set(key, [...(groups.get(key) ?? []), row]);
    }
    expect(
      new Map(
        report.rows.map((row) => [
          `${row.adId} ${row.publisher} ${row.outcome}`,
          [row.clicks, micros(row.charged), micros(row.corrected)],
        ]),
      ),
    ).toEqual(
      new Map(
        [...groups].map(([key, group]) => {
          const own = group.filter(({ outcome }) => outcome !== 'credit');
          return [key, [own.length, sum(own), sum(group)]];
        }),
      ),
    );
  });

  it('gives the same sums on the statement and in the balance', async () => {
    type Statement = {
      opening: string;
      entries: { amount: string; reference: string }[];
      charges: { clicks: number; amount: string }[];
      credits: { amount: string; clicks: number }[];
      closing: string;
      gross: number;
      invalid: { clicks: number }[];
      net: number;
    };
    const month = (await run('TZ=Europe/Berlin date +%Y-%m')).output.trim();
    const statement = await json<Statement>('statement', '4', '--month', month);
    const total = (lines: readonly { amount: string }[]) =>
      lines.reduce((all, { amount }) => all + micros(amount), 0);
    expect(total(statement.charges)).toBe(sum(clicks()));
    expect(total(statement.credits)).toBe(-sum(rows.filter(({ outcome }) => outcome === 'credit')));
    expect(statement.entries.map(({ amount, reference }) => [amount, reference])).toEqual([
      ['100.00', 'first budget'],
      ['100.00', 'invoice-4711'],
    ]);
    expect(statement.gross).toBe(clicks().length);
    expect(statement.net).toBe(clicks().filter(({ outcome }) => outcome !== 'invalid').length);
    const advertisers = await json<{ id: number; remaining: string }[]>('advertiser', 'list');
    expect(advertisers.find(({ id }) => id === 4)?.remaining).toBe(statement.closing);
    expect(micros(statement.closing)).toBe(200e6 - sum(rows));
  });

  it('writes files that have a header and the same rows', () => {
    const linesOf = (name: string) => readFileSync(join(folder, name), 'utf8').trimEnd().split('\n');
    expect(linesOf('clicks.csv')).toHaveLength(rows.length + 1);
    expect(linesOf('report.csv')[0]).toContain('publisher');
    expect(linesOf('statement.csv').at(-1)).toContain(`,net,`);
  });
});
