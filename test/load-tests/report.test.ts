import { describe, expect, it } from 'vitest';
import { planArrivals } from '../../load-tests/load/arrivals.ts';
import { createLoad, type PhaseCounts } from '../../load-tests/load/offer-load.ts';
import type { LoadResult } from '../../load-tests/load/run-load.ts';
import { reportOf } from '../../load-tests/report/report.ts';
import { parseServiceLevel } from '../../load-tests/report/service-levels.ts';

const SECONDS = 10;
const RATE = 100;

/** A load of which all went well, and what was different. */
function report({
  counts = {},
  ledger = {},
  reconciliation = {},
  runsDry = false,
  levels = [],
  ...more
}: {
  counts?: Partial<PhaseCounts>;
  ledger?: Partial<LoadResult['ledger']>;
  reconciliation?: Partial<LoadResult['reconciliation']>;
  runsDry?: boolean;
  levels?: string[];
} & Partial<Pick<LoadResult, 'interrupted' | 'disturbances'>> = {}) {
  const arrivals = planArrivals([{ name: 'base', ms: SECONDS * 1_000, fromRate: RATE, toRate: RATE }]);
  const load = createLoad(arrivals);
  const all = SECONDS * RATE;
  const well = { begun: all, offered: all, recorded: all, answeredMeanwhile: all };
  Object.assign(load.phases[0] ?? {}, well, counts);
  const found = {
    expected: all,
    found: all,
    missing: 0,
    missingIds: [],
    twice: 0,
    charged: all,
    notCharged: 0,
    chargedMicros: 0n,
    advertisers: new Map([
      [1, { found: all / 2, overBudget: 10, overDelivered: 5 }],
      [2, { found: all / 2, overBudget: 0, overDelivered: 0 }],
    ]),
    untold: 0,
    drainMs: 0,
  };
  const result = {
    startedAt: new Date(),
    target: '',
    arrivals,
    load,
    interrupted: false,
    timeline: { moments: [], most: () => ({ brokerClicks: null, oldestSeconds: null }) },
    disturbances: [],
    population: { advertiserIds: [1, 2] },
    ...more,
    ledger: { ...found, ...ledger },
    reconciliation: { balanced: true, missing: 0, problems: [], ...reconciliation },
  } as unknown as LoadResult;
  return reportOf(result, { scenario: { name: 'spike', runsDry }, levels: levels.map(parseServiceLevel) });
}
const SLOW = { offered: (SECONDS * RATE) / 2 };

describe('the verdict of a load', () => {
  it('passes what was offered as asked and kept its promises', () => {
    expect(report()).toMatchObject({ verdict: 'passed', reasons: [] });
  });

  it.each([
    ['a click is missing', { ledger: { missing: 1 } }],
    ['two clicks have one id', { ledger: { twice: 1 } }],
    ['the books do not balance', { reconciliation: { balanced: false, problems: ['x'] } }],
    ['the books miss a click', { reconciliation: { missing: 1 } }],
    ['a redirect failed', { counts: { failed: 1 } }],
  ])('fails where %s, however slow this machine was', (_, what) => {
    expect(report(what).verdict).toBe('failed');
    expect(report({ ...what, counts: { ...SLOW, ...('counts' in what ? what.counts : {}) } }).verdict).toBe(
      'failed',
    );
  });

  it('fails where a level is not met, and says nothing of it where this machine was too slow', () => {
    const levels = ['drain<=30s', 'memory<=250MB'];
    expect(report({ levels })).toMatchObject({
      verdict: 'failed',
      reasons: ['memory at most 250 MB, not measured'],
    });
    expect(report({ levels, counts: SLOW }).verdict).toBe('not_measured');
  });

  it.each([
    ['it was ended early', { interrupted: true }],
    [
      'no processor could be killed: none is running',
      {
        disturbances: [
          { atMs: 1, what: 'no processor could be killed: none is running', isDone: false },
          { atMs: 2, what: 'the broker was restarted', isDone: true },
        ],
      },
    ],
    ['expected all 2 budgets to run dry, 1 did: a longer --hold or fewer --advertisers', { runsDry: true }],
  ])('does not count as measured: %s', (why, what) => {
    expect(report(what)).toMatchObject({ verdict: 'not_measured', reasons: [why] });
  });
});

it('tells answers by the time they took, not by the time they had', () => {
  const counts = { answeredMeanwhile: (SECONDS * RATE) / 4 };
  expect(report({ counts }).phases[0]?.answeredPerSecond).toBe(RATE / 4);
});

it('tells over-delivery of the advertiser that is worst off, in seconds of its own traffic', () => {
  // Half of the traffic is its.
  expect(report()).toMatchObject({ overDelivered: 5, overDeliverySeconds: 5 / (RATE / 2) });
});
