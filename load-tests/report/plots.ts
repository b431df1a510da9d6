import type { LoadResult } from '../load/run-load.ts';
import { oldestSeconds } from '../load/system-metrics.ts';
import type { Sample } from '../load/timeline.ts';

/** Limit of advertisers whose budget is plotted. The first ones get the most clicks. */
const BUDGETS_MAX = 8;

export type Series = {
  readonly label: string;
  readonly values: readonly (number | null)[];
  readonly dashed?: boolean;
};

export type Plot = {
  readonly title: string;
  readonly unit: string;
  /** Shown under the title. */
  readonly hint: string;
  /** Whether the y axis is logarithmic. */
  readonly log?: boolean;
  /** What the legend shows while no time is selected: the highest value of each series (default), or the last one. */
  readonly summary?: 'highest' | 'last';
  readonly series: readonly Series[];
};

/** The plots of a load, with one value per sample of its timeline. */
export function plotsOf({ timeline: { samples }, population }: LoadResult): Plot[] {
  const series: SeriesOf = (label, pick, dashed = false) => ({ label, dashed, values: samples.map(pick) });
  const processes = [...new Set(samples.flatMap(({ system }) => Object.keys(system.processes)))];
  return [
    ...loadPlots(series),
    ...backlogPlots(series),
    {
      title: 'Budgets',
      unit: '',
      hint: `Remaining budgets of the advertisers with the most clicks, in units of their currency. In lists, no. 1 is named “${population.name}, 1”.`,
      summary: 'last',
      series: population.advertiserIds
        .slice(0, BUDGETS_MAX)
        .map((id, index) => series(`no. ${index + 1}`, ({ system }) => system.budgets.get(id) ?? null)),
    },
    ...resourcePlots(series, processes),
  ];
}

type SeriesOf = (label: string, pick: (sample: Sample) => number | null, dashed?: boolean) => Series;

function loadPlots(series: SeriesOf): Plot[] {
  return [
    {
      title: 'Arrivals and answers',
      unit: '/s',
      hint: 'If the ad server keeps up, the rate of answers equals that of arrivals.',
      series: [
        series('target', ({ targetPerSecond }) => targetPerSecond, true),
        series('offered', ({ begunPerSecond }) => begunPerSecond),
        series('answered', ({ answeredPerSecond }) => answeredPerSecond),
        series('failed', ({ failedPerSecond }) => failedPerSecond),
      ],
    },
    {
      title: 'Latency of redirects',
      unit: 'ms',
      hint: 'From the time an arrival was due, not from the time it was sent. Logarithmic.',
      log: true,
      series: (['p50', 'p90', 'p99', 'max'] as const).map((name) =>
        series(name, ({ latencyMs }) => latencyMs?.[name] ?? null),
      ),
    },
  ];
}

function backlogPlots(series: SeriesOf): Plot[] {
  return [
    {
      title: 'Clicks in the broker',
      unit: '',
      hint: 'The backlog can grow during a spike and must drain soon after it.',
      series: [series('in the broker', ({ system }) => system.brokerClicks)],
    },
    {
      title: 'Age of the oldest click before the ledger',
      unit: 's',
      hint: 'How long the oldest click that is not yet in the ledger has been waiting.',
      series: [
        series('oldest', ({ system }) => oldestSeconds(system)),
        series('in the spool', ({ system }) => system.spoolSeconds, true),
      ],
    },
    {
      title: 'Spool',
      unit: 'MB',
      hint: 'Disk space of the spool of the ad server.',
      series: [
        series('spool', ({ system }) => (system.spoolBytes === null ? null : system.spoolBytes / 1e6)),
      ],
    },
  ];
}

function resourcePlots(series: SeriesOf, processes: readonly string[]): Plot[] {
  return [
    {
      title: 'Memory',
      unit: 'MB',
      hint: 'Resident memory of each process.',
      series: processes.map((name) =>
        series(name, ({ system }) => {
          const usage = system.processes[name as keyof typeof system.processes];
          return usage === null ? null : usage.residentBytes / 1e6;
        }),
      ),
    },
    {
      title: 'CPU',
      unit: 'cores',
      hint: 'Cores that each process uses. The line of the machine is the share of all its cores.',
      series: [
        ...processes.map((name) => series(name, ({ cpu }) => cpu[name] ?? null)),
        series('machine', ({ system }) => system.machineUtilization, true),
      ],
    },
  ];
}
