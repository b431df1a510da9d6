import { readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import type { LoadResult } from '../load/run-load.ts';
import { plotsOf } from './plots.ts';
import type { LoadReport } from './report.ts';
import { levelText } from './service-levels.ts';
import { slowestPhase, verdictSentence } from './verdict-sentence.ts';

/** The plot library. It is copied into the page, so that the page opens without a network. https://github.com/leeoniya/uPlot */
const UPLOT = dirname(createRequire(import.meta.url).resolve('uplot'));
const PAGE = join(import.meta.dirname, 'page.html');

/** Writes the report of a load as a self-contained HTML page. Throws the errors of writing the file. */
export function writeHtmlReport(path: string, report: LoadReport, result: LoadResult): void {
  const data = {
    report: { ...report, levels: report.levels.map((level) => ({ met: level.met, text: levelText(level) })) },
    sentence: verdictSentence(report),
    slowest: slowestPhase(report),
    seconds: result.timeline.samples.map(({ atSeconds }) => atSeconds),
    phases: phaseEdges(result),
    plots: plotsOf(result),
  };
  // A "<" could end the script element that contains the JSON.
  const json = JSON.stringify(data).replaceAll('<', '\\u003c');
  const page = readFileSync(PAGE, 'utf8')
    .replace('/*uplot.css*/', () => readFileSync(join(UPLOT, 'uPlot.min.css'), 'utf8'))
    .replace('/*uplot.js*/', () => readFileSync(join(UPLOT, 'uPlot.iife.min.js'), 'utf8'))
    .replace('"report data"', () => json);
  writeFileSync(path, page);
}

/** Start and end of each phase, in seconds from the start of the load. */
function phaseEdges({ arrivals }: LoadResult): { name: string; from: number; to: number }[] {
  let from = 0;
  return arrivals.phases.map(({ name, ms }) => {
    const edge = { name, from, to: from + ms / 1_000 };
    from = edge.to;
    return edge;
  });
}
