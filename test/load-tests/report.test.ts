import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { planArrivals } from '../../load-tests/load/arrivals.ts';
import { createLoad, type PhaseCounts } from '../../load-tests/load/offer-load.ts';
import type { LoadResult } from '../../load-tests/load/run-load.ts';
import { reportOf } from '../../load-tests/report/report.ts';
import { parseServiceLevel } from '../../load-tests/report/service-levels.ts';

const SECONDS = 10;
const RATE = 100;

/** The report of a load that passes, except for the given results. */
function report({
  counts = {},
  ledger = {},
  reconciliation = {},
  exhaustsBudgets = false,
  levels = [],
  ...more
}: {
  counts?: Partial<PhaseCounts>;
  ledger?: Partial<LoadResult['ledger']>;
  reconciliation?: Partial<LoadResult['reconciliation']>;
  exhaustsBudgets?: boolean;
  levels?: string[];
} & Partial<Pick<LoadResult, 'interrupted' | 'faults'>> = {}) {
  const arrivals = planArrivals([{ name: 'base', ms: SECONDS * 1_000, fromRate: RATE, toRate: RATE }]);
  const load = createLoad(arrivals);
  const all = SECONDS * RATE;
  const passing = { begun: all, offered: all, recorded: all, answeredInPhase: all };
  Object.assign(load.phases[0] ?? {}, passing, counts);
  const found = {
    expected: all,
    found: all,
    missing: 0,
    missingIds: [],
    duplicateIds: 0,
    charged: all,
    notCharged: 0,
    chargedMicros: 0n,
    advertisers: new Map([
      [1, { found: all / 2, overBudget: 10, overDelivered: 5 }],
      [2, { found: all / 2, overBudget: 0, overDelivered: 0 }],
    ]),
    unacknowledged: 0,
    drainMs: 0,
  };
  const result = {
    startedAt: new Date(),
    target: '',
    arrivals,
    load,
    interrupted: false,
    timeline: { samples: [], maxBacklog: () => ({ brokerClicks: null, oldestSeconds: null }) },
    faults: [],
    population: { advertiserIds: [1, 2] },
    ...more,
    ledger: { ...found, ...ledger },
    reconciliation: { balanced: true, missing: 0, problems: [], ...reconciliation },
  } as unknown as LoadResult;
  return reportOf(result, {
    scenario: { name: 'spike', exhaustsBudgets },
    levels: levels.map(parseServiceLevel),
  });
}
const SLOW = { offered: (SECONDS * RATE) / 2 };

describe('the verdict of a load', () => {
  it('is passed if the load was offered as configured and no guarantee was violated', () => {
    expect(report()).toMatchObject({ verdict: 'passed', reasons: [] });
  });

  it.each([
    ['a click is missing', { ledger: { missing: 1 } }],
    ['two clicks have the same id', { ledger: { duplicateIds: 1 } }],
    ['the books do not balance', { reconciliation: { balanced: false, problems: ['x'] } }],
    ['the reconciliation misses a click', { reconciliation: { missing: 1 } }],
    ['a redirect failed', { counts: { failed: 1 } }],
  ])('is failed if %s, even on a machine that was too slow', (_, changed) => {
    expect(report(changed).verdict).toBe('failed');
    const counts = { ...SLOW, ...('counts' in changed ? changed.counts : {}) };
    expect(report({ ...changed, counts }).verdict).toBe('failed');
  });

  it('is failed if a level is not met, and not measured if the machine was too slow', () => {
    const levels = ['drain<=30s', 'memory<=250MB'];
    expect(report({ levels })).toMatchObject({
      verdict: 'failed',
      reasons: ['memory at most 250 MB, not measured'],
    });
    expect(report({ levels, counts: SLOW }).verdict).toBe('not_measured');
  });

  it.each([
    ['the run was interrupted', { interrupted: true }],
    [
      'no processor could be killed: no processor is running',
      {
        faults: [
          {
            atMs: 1,
            description: 'no processor could be killed: no processor is running',
            succeeded: false,
          },
          { atMs: 2, description: 'the broker was restarted', succeeded: true },
        ],
      },
    ],
    [
      'expected all 2 budgets to be exhausted, got 1: use a longer --hold or fewer --advertisers',
      { exhaustsBudgets: true },
    ],
  ])('is not measured: %s', (reason, changed) => {
    expect(report(changed)).toMatchObject({ verdict: 'not_measured', reasons: [reason] });
  });
});

it('counts an answer in the phase in which it was received', () => {
  const counts = { answeredInPhase: (SECONDS * RATE) / 4 };
  expect(report({ counts }).phases[0]?.answeredPerSecond).toBe(RATE / 4);
});

it('reports the highest over-delivery of an advertiser, in seconds of its traffic', () => {
  // The advertiser gets half of the traffic.
  expect(report()).toMatchObject({ overDelivered: 5, overDeliverySeconds: 5 / (RATE / 2) });
});

it('has every field that the HTML page reads', () => {
  const page = readFileSync(join(import.meta.dirname, '../../load-tests/report/page.html'), 'utf8');
  const paths = [...page.matchAll(/\breport\.(\w+)(?:\.(\w+))?/g)];
  expect(paths.length).toBeGreaterThan(30);
  const whole: Readonly<Record<string, unknown>> = report();
  for (const [path, name = '', inner] of paths) {
    expect(whole, path).toHaveProperty(name);
    if (inner !== undefined) expect(inner in Object(whole[name]), path).toBe(true);
  }
});
