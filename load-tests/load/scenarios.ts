import type { Phase } from './arrivals.ts';
import type { LoadOptions } from './run-load.ts';

/** What all scenarios are told. Rates in clicks a second, times in ms. */
export type ScenarioOptions = {
  readonly base: number;
  readonly factor: number;
  readonly rampMs: number;
  readonly holdMs: number;
  readonly population: LoadOptions['population'];
};

/** A load with a question: how the arrivals come, and who is clicked on. */
export type Scenario = {
  readonly name: string;
  readonly question: string;
  readonly defaults: {
    readonly base: number;
    readonly factor: number;
    readonly rampMs: number;
    readonly holdMs: number;
  };
  readonly phases: (options: ScenarioOptions) => Phase[];
  readonly population: (options: ScenarioOptions, arrivals: number) => LoadOptions['population'];
  /** Whether every advertiser's budget is to be gone before the end. */
  readonly runsDry: boolean;
  /** Whether a processor is killed and the broker restarted while the load is at its peak. */
  readonly injectsFaults: boolean;
};

/** Time at the base rate before the ramp and after the peak, in ms: half of that at the peak, within these. */
const BASE_MS = { least: 1_000, most: 5_000 };
/** Part of all clicks that the one ad of a stampede takes. */
const STAMPEDE_SHARE = 0.9;
/** Part of the arrivals that cost something, which each advertiser of `exhaust` can pay for: its budget is gone in mid-peak. */
const EXHAUST_SHARE = 0.5;

const SPIKE = { base: 200, factor: 10, rampMs: 10_000, holdMs: 60_000 };

function spikePhases({ base, factor, rampMs, holdMs }: ScenarioOptions): Phase[] {
  const peak = base * factor;
  const ms = Math.min(BASE_MS.most, Math.max(BASE_MS.least, holdMs / 2));
  return [
    { name: 'base', ms, fromRate: base, toRate: base },
    { name: 'ramp', ms: rampMs, fromRate: base, toRate: peak },
    { name: 'peak', ms: holdMs, fromRate: peak, toRate: peak },
    { name: 'after', ms, fromRate: base, toRate: base },
  ];
}

const asGiven: Scenario['population'] = ({ population }) => population;

export const SCENARIOS: Readonly<Record<string, Scenario>> = {
  spike: {
    name: 'spike',
    question: 'Many times the usual clicks within seconds',
    defaults: SPIKE,
    phases: spikePhases,
    population: asGiven,
    runsDry: false,
    injectsFaults: false,
  },
  stampede: {
    name: 'stampede',
    question: 'A spike of which one ad takes nine clicks in ten',
    defaults: SPIKE,
    phases: spikePhases,
    population: ({ population }) => ({ ...population, favourite: STAMPEDE_SHARE }),
    runsDry: false,
    injectsFaults: false,
  },
  exhaust: {
    name: 'exhaust',
    question: 'A spike in the middle of which every budget runs dry',
    defaults: SPIKE,
    phases: spikePhases,
    population: ({ population }, arrivals) => {
      const { repeat, robot, prefetch, forged } = population.shares;
      const paid = arrivals * Math.max(0, 1 - repeat - robot - prefetch - forged);
      // All alike: so all run dry, and at the same time.
      return {
        ...population,
        skew: 0,
        budgetClicks: Math.ceil((paid * EXHAUST_SHARE) / population.advertisers),
      };
    },
    runsDry: true,
    injectsFaults: false,
  },
  faults: {
    name: 'faults',
    question: 'A spike with a processor killed and the broker restarted in the middle',
    defaults: SPIKE,
    phases: spikePhases,
    population: asGiven,
    runsDry: false,
    injectsFaults: true,
  },
  soak: {
    name: 'soak',
    question: 'The same load for hours: does memory stay flat?',
    defaults: { base: 200, factor: 1, rampMs: 60_000, holdMs: 3_600_000 },
    phases: ({ base, factor, rampMs, holdMs }) => [
      { name: 'warm-up', ms: rampMs, fromRate: 0, toRate: base * factor },
      { name: 'soak', ms: holdMs, fromRate: base * factor, toRate: base * factor },
    ],
    population: asGiven,
    runsDry: false,
    injectsFaults: false,
  },
};
