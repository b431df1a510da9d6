import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import {
  acceptInto,
  BASELINE_PATH,
  compareWithBaseline,
  readBaseline,
  writeBaseline,
} from '../../load-tests/bench/baseline.ts';
import { type BenchResult, compareLimit, compareRounds } from '../../load-tests/bench/result.ts';
import { writeResults } from '../../load-tests/bench/results-file.ts';
import { suiteFolder } from '../support/temporary-folder.ts';

/** A row whose rounds had these ratios. */
function row(name: string, ...ratios: readonly number[]): BenchResult {
  const rounds = ratios.map((ratio) => ({ ours: ratio * 1_000, reference: 1_000 }));
  return compareRounds(name, 'clicks/s', null, rounds, []);
}

function verdictOf(result: BenchResult, accepted: number): string | undefined {
  return compareWithBaseline([result], { [result.name]: accepted })[0]?.verdict;
}

const folder = suiteFolder();

describe('a ratio beside the last accepted one', () => {
  it('holds within 15 %, and falls or rises outside', () => {
    expect(verdictOf(row('charge', 0.52), 0.6)).toBe('held');
    expect(verdictOf(row('charge', 0.5), 0.6)).toBe('fell');
    expect(verdictOf(row('charge', 0.68), 0.6)).toBe('held');
    expect(verdictOf(row('charge', 0.7), 0.6)).toBe('rose');
  });

  it('holds within half of the spread of its rounds, if that is more', () => {
    expect(verdictOf(row('charge', 0.35, 0.48, 0.65), 0.6)).toBe('held');
    expect(verdictOf(row('charge', 0.4, 0.44, 0.65), 0.6)).toBe('fell');
    expect(verdictOf(row('charge', 0.47, 0.48, 0.49), 0.6)).toBe('fell');
  });

  it('falls outside the maximum tolerance, even if its rounds vary widely', () => {
    expect(verdictOf(row('charge', 0.05, 0.3, 2), 0.6)).toBe('fell');
  });

  it('is new if the baseline does not have it', () => {
    expect(compareWithBaseline([row('charge', 0.5)], {})).toEqual([
      { name: 'charge', verdict: 'new', ratio: 0.5, baseline: null, tolerance: 0 },
    ]);
  });

  it('is capped, so that values far below a generous limit compare as equal', () => {
    const drains = (seconds: number) => compareLimit('drain', 's', 'max', seconds, 10, []);
    const baseline = acceptInto({}, [drains(0.1)]);
    expect(baseline).toEqual({ drain: 3 });
    expect(compareWithBaseline([drains(1)], baseline)[0]?.verdict).toBe('held');
    expect(compareWithBaseline([drains(5)], baseline)[0]?.verdict).toBe('fell');
  });
});

describe('a baseline', () => {
  it('accepts measured ratios and keeps the others', () => {
    const accepted = acceptInto({ spike: 1.1, charge: 0.6 }, [row('charge', 0.5), row('redirect', 0.8)]);
    expect(accepted).toEqual({ charge: 0.5, redirect: 0.8, spike: 1.1 });
    expect(Object.keys(accepted)).toEqual(['charge', 'redirect', 'spike']);
  });

  it('is read as it was written, and is empty if the file does not exist', () => {
    const path = join(folder, 'baseline.json');
    expect(readBaseline(path)).toEqual({});
    writeBaseline({ charge: 0.6 }, path);
    expect(readBaseline(path)).toEqual({ charge: 0.6 });
  });

  it('of the repository can be read', () => {
    expect(Object.keys(readBaseline(BASELINE_PATH))).toContain('charge-1000-impression');
  });

  for (const text of ['[0.5]', 'null', '{"charge":"0.5"}', '{"charge":-1}', '{"charge":', '']) {
    it(`that is ${text || 'empty'} is refused`, () => {
      const path = join(folder, 'broken.json');
      writeFileSync(path, text);
      expect(() => readBaseline(path)).toThrow(
        expect.objectContaining({ code: 'bad_baseline', message: expect.stringContaining('broken.json') }),
      );
    });
  }
});

describe('the rows of the JSON file', () => {
  it('have a verdict only with a comparison', () => {
    const path = join(folder, 'rows.json');
    const results = [row('charge', 0.4, 0.5, 0.6)];
    const bare = {
      name: 'charge',
      ours: 500,
      reference: 1_000,
      unit: 'clicks/s',
      ratio: 0.5,
      bar: null,
      met: null,
      spread: [0.4, 0.6],
    };
    writeResults(path, results, null);
    expect(JSON.parse(readFileSync(path, 'utf8'))).toEqual([bare]);
    writeResults(path, results, compareWithBaseline(results, { charge: 0.7 }));
    expect(JSON.parse(readFileSync(path, 'utf8'))).toEqual([
      { ...bare, baseline: 0.7, tolerance: 0.105, verdict: 'fell' },
    ]);
  });
});
