import { readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import type { LoadResult } from '../load/run-load.ts';
import { oldestSeconds } from '../load/system-metrics.ts';
import type { LoadReport } from './report.ts';
import { levelText } from './service-levels.ts';

/** The plots' library, copied into the page: it opens without a network. https://github.com/leeoniya/uPlot */
const UPLOT = dirname(createRequire(import.meta.url).resolve('uplot'));
const PAGE = join(import.meta.dirname, 'page.html');
/** Budgets that get a line of their own in the plot: of the advertisers that are clicked most. */
const BUDGETS_MAX = 8;

type Series = {
  readonly label: string;
  readonly values: readonly (number | null)[];
  readonly dashed?: boolean;
};
type Plot = {
  readonly title: string;
  readonly unit: string;
  /** Shown under the title: how to read it. */
  readonly hint: string;
  readonly log?: boolean;
  readonly series: readonly Series[];
};

/** Writes what a load showed as one page for people. Throws what writing the file throws. */
export function writeHtmlReport(path: string, report: LoadReport, result: LoadResult): void {
  const { moments } = result.timeline;
  const data = {
    report: { ...report, levels: report.levels.map((level) => ({ met: level.met, text: levelText(level) })) },
    seconds: moments.map(({ atSeconds }) => atSeconds),
    phases: phaseEdges(result),
    plots: plotsOf(result),
  };
  // Inside a script element only this could end it.
  const json = JSON.stringify(data).replaceAll('<', '\\u003c');
  const page = readFileSync(PAGE, 'utf8')
    .replace('/*uplot.css*/', () => readFileSync(join(UPLOT, 'uPlot.min.css'), 'utf8'))
    .replace('/*uplot.js*/', () => readFileSync(join(UPLOT, 'uPlot.iife.min.js'), 'utf8'))
    .replace('"report data"', () => json);
  writeFileSync(path, page);
}

function phaseEdges({ arrivals }: LoadResult): { name: string; from: number; to: number }[] {
  let from = 0;
  return arrivals.phases.map(({ name, ms }) => {
    const edge = { name, from, to: from + ms / 1_000 };
    from = edge.to;
    return edge;
  });
}

function plotsOf({ timeline: { moments }, population }: LoadResult): Plot[] {
  const series = (
    label: string,
    pick: (moment: (typeof moments)[number]) => number | null,
    dashed = false,
  ): Series => ({
    label,
    dashed,
    values: moments.map(pick),
  });
  const names = [...new Set(moments.flatMap(({ system }) => Object.keys(system.processes)))];
  type Name = keyof (typeof moments)[number]['system']['processes'];
  return [
    {
      title: 'Arrivals and answers',
      unit: '/s',
      hint: 'Answers follow arrivals as long as nothing waits at the edge.',
      series: [
        series('asked', ({ askedPerSecond }) => askedPerSecond, true),
        series('offered', ({ begunPerSecond }) => begunPerSecond),
        series('answered', ({ answeredPerSecond }) => answeredPerSecond),
        series('failed', ({ failedPerSecond }) => failedPerSecond),
      ],
    },
    {
      title: 'Latency of redirects',
      unit: 'ms',
      hint: 'From the moment an arrival was due, not from when it could be sent. Logarithmic.',
      log: true,
      series: (['p50', 'p90', 'p99', 'max'] as const).map((name) =>
        series(name, ({ latencyMs }) => latencyMs?.[name] ?? null),
      ),
    },
    {
      title: 'Clicks in the broker',
      unit: '',
      hint: 'A spike is a queue: it may grow, and has to be gone soon after.',
      series: [series('in the broker', ({ system }) => system.brokerClicks)],
    },
    {
      title: 'Age of the oldest click before the ledger',
      unit: 's',
      hint: 'How long the click that waits longest has been waiting.',
      series: [
        series('oldest', ({ system }) => oldestSeconds(system)),
        series('in the spool', ({ system }) => system.spoolSeconds, true),
      ],
    },
    {
      title: 'Spool',
      unit: 'MB',
      hint: 'What the ad server holds on disk.',
      series: [
        series('spool', ({ system }) => (system.spoolBytes === null ? null : system.spoolBytes / 1e6)),
      ],
    },
    {
      title: 'Budgets',
      unit: '',
      hint: 'What is left of the budgets of the advertisers that are clicked on, in units of their currency.',
      series: population.advertiserIds
        .slice(0, BUDGETS_MAX)
        .map((id) => series(`advertiser ${id}`, ({ system }) => system.budgets.get(id) ?? null)),
    },
    {
      title: 'Memory',
      unit: 'MB',
      hint: 'Resident memory of each process.',
      series: names.map((name) =>
        series(name, ({ system }) => {
          const use = system.processes[name as Name];
          return use === null ? null : use.residentBytes / 1e6;
        }),
      ),
    },
    {
      title: 'Processor time',
      unit: 'cores',
      hint: 'What each process uses; the machine as a share of all its cores.',
      series: [
        ...names.map((name) => series(name, ({ cpu }) => cpu[name] ?? null)),
        series('machine', ({ system }) => system.machineBusy, true),
      ],
    },
  ];
}
