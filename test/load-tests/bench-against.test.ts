import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { compareRows, type Pair } from '../../load-tests/bench/against.ts';
import { checkOut, ROOT } from '../../load-tests/bench/checkout.ts';
import { commandOf } from '../../load-tests/bench/npm-script.ts';
import { ResourceScope } from '../../load-tests/bench/resource-scope.ts';
import { type BenchRow, compareLimit, compareRounds } from '../../load-tests/bench/result.ts';
import { isSkipped } from '../support/skipped.ts';
import { gitMissing } from './git-missing.ts';

const rate = (name: string, perSecond: number, reference: number): BenchRow =>
  compareRounds(name, 'clicks/s', null, [{ ours: perSecond, reference }], []);
const cost = (name: string, ms: number): BenchRow => compareLimit(name, 'ms', 'max', ms, 20, []);
const withCpu = (row: BenchRow, ours: Record<string, number>): BenchRow => ({ ...row, cpuMicros: { ours } });

const compared = (...pairs: readonly (readonly [BenchRow, BenchRow])[]) =>
  compareRows(
    pairs.map(([ours, theirs]): Pair => ({ ours: [ours], theirs: [theirs] })),
    'note',
  );

describe('rows of two commits', () => {
  it('have the median of the ratios of the pairs, not the ratio of the medians', () => {
    const [row] = compared(
      [rate('charge', 100, 50), rate('charge', 50, 50)],
      [rate('charge', 30, 50), rate('charge', 20, 50)],
      [rate('charge', 60, 50), rate('charge', 60, 50)],
    );
    expect(row).toMatchObject({
      name: 'charge',
      ours: 60,
      reference: 50,
      ratio: 1.5,
      spread: [1, 2],
      bar: null,
    });
  });

  it('have a ratio above 1 if ours costs less, also far below the limit', () => {
    const [row] = compared([cost('page', 4), cost('page', 6)]);
    expect(row).toMatchObject({ unit: 'ms', ours: 4, reference: 6, ratio: 1.5 });
  });

  it('compare the ratios to the references that the runs measured themselves', () => {
    const rows = compared([rate('charge', 100, 200), rate('charge', 50, 50)]);
    expect(rows.map(({ name }) => name)).toEqual(['charge', 'charge-ratio']);
    expect(rows[1]).toMatchObject({ ours: 0.5, reference: 1, ratio: 0.5 });
    expect(compared([cost('page', 4), cost('page', 6)])).toHaveLength(1);
  });

  it('compare the sums of the CPU times of all processes', () => {
    const rows = compared([
      withCpu(cost('drain', 4), { processor: 6, PostgreSQL: 4 }),
      withCpu(cost('drain', 4), { processor: 12, PostgreSQL: 3 }),
    ]);
    expect(rows[1]).toMatchObject({
      name: 'drain-cpu',
      unit: 'µs',
      ours: 10,
      reference: 15,
      ratio: 1.5,
      cpuMicros: { ours: { processor: 6, PostgreSQL: 4 }, reference: { processor: 12, PostgreSQL: 3 } },
    });
  });

  it('have no CPU row if the older commit did not measure it', () => {
    expect(compared([withCpu(cost('drain', 4), { processor: 6 }), cost('drain', 4)])).toHaveLength(1);
  });

  it('are those that both commits have; without any, the comparison fails', () => {
    const pair: Pair = { ours: [cost('new', 1), cost('page', 1)], theirs: [cost('page', 1), cost('old', 1)] };
    expect(compareRows([pair], '').map(({ name }) => name)).toEqual(['page']);
    expect(() => compared([cost('new', 1), cost('old', 1)])).toThrow('a row that both commits have');
  });
});

describe('the command of a script', () => {
  it('runs its entry file in the checkout, without npm and shell', () => {
    const [program, ...args] = commandOf(ROOT, 'load');
    expect(program).toBe(process.execPath);
    expect(args.at(-1)).toBe(join(ROOT, 'load-tests/main.ts'));
    for (const script of ['start', 'tollway', 'bench']) {
      const entry = commandOf(ROOT, script).at(-1) ?? '';
      expect(existsSync(entry), script).toBe(true);
    }
    expect(() => commandOf(ROOT, 'lint')).toThrow('Expected a script lint');
  });
});

describe.skipIf(isSkipped(gitMissing))('a checkout of another commit', () => {
  const resources = new ResourceScope();
  const progress = { say: () => {}, show: () => {}, end: () => {} };
  afterAll(() => resources.close());

  it('has its files, dependencies and the benchmarks of this checkout, and is removed at the end', async () => {
    const own = new ResourceScope();
    const { root, name, ourBench, ownBench } = await checkOut('HEAD', { resources: own, progress });
    expect(execFileSync('git', ['-C', ROOT, 'rev-parse', 'HEAD'], { encoding: 'utf8' })).toMatch(
      new RegExp(`^${name}`),
    );
    const committed = execFileSync('git', ['-C', ROOT, 'show', 'HEAD:package.json'], { encoding: 'utf8' });
    expect(readFileSync(join(root, 'package.json'), 'utf8')).toBe(committed);
    for (const path of [ourBench, ownBench, join(root, 'node_modules/pg/package.json')])
      expect(existsSync(path), path).toBe(true);
    await own.close();
    expect(existsSync(root)).toBe(false);
  });

  it('of a revision that does not exist is refused', async () => {
    await expect(checkOut('no-such-branch', { resources, progress })).rejects.toMatchObject({
      code: 'bad_revision',
      message: expect.stringContaining('no-such-branch'),
    });
    await expect(checkOut('--output=x', { resources, progress })).rejects.toMatchObject({
      code: 'bad_revision',
    });
  });
});
