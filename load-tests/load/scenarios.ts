import type { Phase } from './arrivals.ts';
import type { LoadOptions } from './run-load.ts';

/** The options of all scenarios. `base` in clicks per second, times in ms. */
export type ScenarioOptions = {
  readonly base: number;
  readonly factor: number;
  readonly rampMs: number;
  readonly holdMs: number;
  readonly population: LoadOptions['population'];
};

/** A named load: its phases and its population. */
export type Scenario = {
  readonly name: string;
  readonly description: string;
  readonly defaults: {
    readonly base: number;
    readonly factor: number;
    readonly rampMs: number;
    readonly holdMs: number;
  };
  readonly phases: (options: ScenarioOptions) => Phase[];
  readonly population: (options: ScenarioOptions, arrivals: number) => LoadOptions['population'];
  /** Whether the run counts as measured only if every budget is exhausted. */
  readonly exhaustsBudgets: boolean;
  /** Whether a processor is killed and the broker restarted during the peak. */
  readonly injectsFaults: boolean;
};

/** Limits of the time at the base rate before the ramp and after the peak, in ms. Within them it is half of the time at the peak. */
const BASE_MS = { min: 1_000, max: 5_000 };
/** Share of all clicks that go to the first ad of a stampede. */
const STAMPEDE_SHARE = 0.9;
/** Share of the chargeable arrivals that the budgets of `exhaust` cover, so that they are exhausted in the middle of the peak. */
const EXHAUST_SHARE = 0.5;

const SPIKE = { base: 200, factor: 10, rampMs: 10_000, holdMs: 60_000 };

function spikePhases({ base, factor, rampMs, holdMs }: ScenarioOptions): Phase[] {
  const peak = base * factor;
  const ms = Math.min(BASE_MS.max, Math.max(BASE_MS.min, holdMs / 2));
  return [
    { name: 'base', ms, fromRate: base, toRate: base },
    { name: 'ramp', ms: rampMs, fromRate: base, toRate: peak },
    { name: 'peak', ms: holdMs, fromRate: peak, toRate: peak },
    { name: 'after', ms, fromRate: base, toRate: base },
  ];
}

const unchangedPopulation: Scenario['population'] = ({ population }) => population;

export const SCENARIOS: Readonly<Record<string, Scenario>> = {
  spike: {
    name: 'spike',
    description: 'Traffic rises to a multiple of its base rate within seconds',
    defaults: SPIKE,
    phases: spikePhases,
    population: unchangedPopulation,
    exhaustsBudgets: false,
    injectsFaults: false,
  },
  stampede: {
    name: 'stampede',
    description: 'A spike in which one ad gets 90 % of the clicks',
    defaults: SPIKE,
    phases: spikePhases,
    population: ({ population }) => ({ ...population, topAdShare: STAMPEDE_SHARE }),
    exhaustsBudgets: false,
    injectsFaults: false,
  },
  exhaust: {
    name: 'exhaust',
    description: 'A spike in the middle of which every budget is exhausted',
    defaults: SPIKE,
    phases: spikePhases,
    population: ({ population }, arrivals) => {
      const { repeat, robot, prefetch, forged } = population.shares;
      const paid = arrivals * Math.max(0, 1 - repeat - robot - prefetch - forged);
      // A uniform distribution, so that all budgets are exhausted, at about the same time.
      return {
        ...population,
        skew: 0,
        budgetClicks: Math.ceil((paid * EXHAUST_SHARE) / population.advertisers),
      };
    },
    exhaustsBudgets: true,
    injectsFaults: false,
  },
  faults: {
    name: 'faults',
    description: 'A spike during which a processor is killed and the broker is restarted',
    defaults: SPIKE,
    phases: spikePhases,
    population: unchangedPopulation,
    exhaustsBudgets: false,
    injectsFaults: true,
  },
  soak: {
    name: 'soak',
    description: 'A constant load for an hour, to check that memory does not grow',
    defaults: { base: 200, factor: 1, rampMs: 60_000, holdMs: 3_600_000 },
    phases: ({ base, factor, rampMs, holdMs }) => [
      { name: 'warm-up', ms: rampMs, fromRate: 0, toRate: base * factor },
      { name: 'soak', ms: holdMs, fromRate: base * factor, toRate: base * factor },
    ],
    population: unchangedPopulation,
    exhaustsBudgets: false,
    injectsFaults: false,
  },
};
