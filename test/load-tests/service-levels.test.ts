import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import {
  evaluateLevels,
  levelText,
  parseServiceLevel,
  readServiceLevels,
} from '../../load-tests/report/service-levels.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';

it.each([
  ['p99<=25ms', { measure: 'p99', limit: 25 }],
  ['p99.9 <= 40 ms', { measure: 'p99.9', limit: 40 }],
  ['p99/base≤3', { measure: 'p99/base', limit: 3 }],
  ['failed<=0.1%', { measure: 'failed', limit: 0.1 }],
  ['drain<=30s', { measure: 'drain', limit: 30 }],
])('parses %s', (text, level) => {
  expect(parseServiceLevel(text)).toEqual(level);
});

it.each(['p98<=25ms', 'p99<25ms', 'p99<=25', 'p99<=25s', 'drain<=30ms', 'p99<=-1ms', '', 'p99'])(
  'rejects %j and lists the valid forms',
  (text) => {
    expect(() => parseServiceLevel(text)).toThrow(
      /^Expected a service level of the form p50<=…ms, .*, got "/,
    );
  },
);

it('reads a file of levels with comments', () => {
  const path = join(temporaryFolder(), 'levels');
  writeFileSync(path, '# of the redirect\np99<=25ms # at the peak\n\ndrain<=30s\n');
  expect(readServiceLevels(path)).toEqual([
    { measure: 'p99', limit: 25 },
    { measure: 'drain', limit: 30 },
  ]);
  expect(() => readServiceLevels('/nowhere')).toThrow(
    'Expected a file of service levels at /nowhere, got ENOENT',
  );
});

it('compares levels with measured values; a level without a value is not met', () => {
  const levels = ['p99<=25ms', 'drain<=30s', 'age<=2s'].map(parseServiceLevel);
  const results = evaluateLevels(levels, { p99: 25, drain: 30.1, age: null });
  expect(results.map(({ met }) => met)).toEqual([true, false, false]);
  expect(results.map(levelText)).toEqual([
    'p99 at most 25 ms, was 25 ms',
    'drain at most 30 s, was 30.1 s',
    'age at most 2 s, not measured',
  ]);
});
