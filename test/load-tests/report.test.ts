import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { planArrivals } from '../../load-tests/load/arrivals.ts';
import { createLoad, type PhaseCounts } from '../../load-tests/load/offer-load.ts';
import type { LoadResult } from '../../load-tests/load/run-load.ts';
import { plotsOf } from '../../load-tests/report/plots.ts';
import { reportOf } from '../../load-tests/report/report.ts';
import { parseServiceLevel } from '../../load-tests/report/service-levels.ts';
import { slowestPhase, verdictSentence } from '../../load-tests/report/verdict-sentence.ts';

const SECONDS = 10;
const RATE = 100;

/** The report of a load that passes, except for the given results. */
function report({
  counts = {},
  ledger = {},
  reconciliation = {},
  exhaustsBudgets = false,
  scenario = 'spike',
  levels = [],
  ...more
}: {
  counts?: Partial<PhaseCounts>;
  ledger?: Partial<LoadResult['ledger']>;
  reconciliation?: Partial<LoadResult['reconciliation']>;
  exhaustsBudgets?: boolean;
  scenario?: string;
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
    scenario: { name: scenario, exhaustsBudgets },
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

describe('the sentence on top of a report', () => {
  const advertisers = new Map([[1, { found: 1_000, overBudget: 0, overDelivered: 0 }]]);

  it('of a passed run says what was shown, with the p99 of the slowest phase', () => {
    const passed = report({ ledger: { advertisers } });
    expect(verdictSentence({ ...passed, phases: [withP99('base', 2.5), withP99('peak', 12.3456)] })).toBe(
      'Passed: each of 1,000 recorded clicks is in the ledger, none twice, and the books balance; ' +
        '99 % of redirects took at most 12.3 ms in the slowest phase, peak.',
    );
  });

  it('has the answer of exhaust', () => {
    expect(verdictSentence(report({ scenario: 'exhaust' }))).toMatch(
      / 5 clicks were redirected past an exhausted budget and not charged: at most 0\.1 s of the traffic of an advertiser\.$/,
    );
    expect(verdictSentence(report({ scenario: 'exhaust', ledger: { advertisers } }))).toMatch(
      / No click was redirected past an exhausted budget\.$/,
    );
  });

  it('of a failed run has the first reason and the number of others', () => {
    const one = report({ ledger: { missing: 1, missingIds: ['x'] } });
    expect(verdictSentence(one)).toBe('Failed: 1 recorded click is not in the ledger: x.');
    const two = report({ ledger: { missing: 1, missingIds: ['x'] }, counts: { failed: 2 } });
    expect(verdictSentence(two)).toBe(
      'Failed: 1 recorded click is not in the ledger: x (and 1 more reason).',
    );
  });

  it('of a run that was not measured says that no guarantee was violated', () => {
    expect(verdictSentence(report({ interrupted: true }))).toBe(
      'Not measured: the run was interrupted. No guarantee was violated: ' +
        'each of 1,000 recorded clicks is in the ledger, none twice, and the books balance.',
    );
  });

  it('is there for a run without arrivals', () => {
    expect(slowestPhase({ phases: [] })).toBeNull();
    expect(verdictSentence({ ...report(), phases: [] })).toMatch(/^Passed: /);
  });
});

/** A phase of the report with the given p99, in ms. */
function withP99(name: string, p99: number) {
  const [phase] = report().phases;
  if (phase === undefined) throw new Error('Expected a phase');
  return { ...phase, name, latencyMs: { ...phase.latencyMs, p99 } };
}

it('counts an answer in the phase in which it was received', () => {
  const counts = { answeredInPhase: (SECONDS * RATE) / 4 };
  expect(report({ counts }).phases[0]?.answeredPerSecond).toBe(RATE / 4);
});

it('reports the highest over-delivery of an advertiser, in seconds of its traffic', () => {
  // The advertiser gets half of the traffic.
  expect(report()).toMatchObject({ overDelivered: 5, overDeliverySeconds: 5 / (RATE / 2) });
});

it('names the advertisers of the budgets, whose ids mean nothing to a reader', () => {
  const result = {
    timeline: { samples: [{ system: { processes: {}, budgets: new Map([[4711, 0.5]]) }, cpu: {} }] },
    population: { name: 'Load test of today', advertiserIds: [4712, 4711] },
  } as unknown as LoadResult;
  const budgets = plotsOf(result).find(({ title }) => title === 'Budgets');
  expect(budgets?.series.map(({ label, values }) => [label, values])).toEqual([
    ['no. 1', [null]],
    ['no. 2', [0.5]],
  ]);
  expect(budgets?.hint).toContain('“Load test of today, 1”');
  expect(JSON.stringify(budgets)).not.toMatch(/471/);
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
