import { useEffect, useRef } from 'preact/hooks';
import uPlot from 'uplot';
import { formatClock, formatCompact, formatCount } from '../format.ts';
import { theme } from '../theme.ts';

export type Series = {
  readonly label: string;
  /** The CSS variable of its colour, such as `--charged`. */
  readonly colour: string;
};

type ChartProps = {
  /** What the chart shows, for screen readers. */
  readonly label: string;
  /** Unix times in s, ascending. */
  readonly times: readonly number[];
  readonly series: readonly Series[];
  /** The values of each series at the times. They are stacked. */
  readonly values: readonly (readonly number[])[];
  /** Height in px. */
  readonly height?: number;
  /** `bars` for days and hours, `areas` for what is continuous. */
  readonly kind?: 'areas' | 'bars';
  /** Length of the time axis in s that ends with the last time; without it, all times. */
  readonly windowSeconds?: number;
  readonly formatValue?: (value: number) => string;
  /** How a time of the axis and of the legend is shown. */
  readonly formatTime?: (unixSeconds: number) => string;
};

/** Width of a label of the time axis, in px. */
const LABEL_PX = 96;

const clockOf = (seconds: number) => formatClock(new Date(seconds * 1_000).toISOString());

/** Stacked areas or bars over time, by uPlot, with a legend that keeps its size. */
export function Chart(props: ChartProps) {
  const { label, series, height = 220 } = props;
  const box = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot | null>(null);
  const legend = useRef<HTMLDivElement>(null);
  const latest = useRef(props);
  latest.current = props;
  const chosen = theme.value;
  const labels = series.map((one) => one.label).join();
  // uPlot takes the colours and the series when it is made.
  useEffect(() => {
    const element = box.current;
    if (!element) return;
    const make = () => {
      plot.current?.destroy();
      plot.current = new uPlot(optionsOf(latest, element, legend), dataOf(latest.current), element);
    };
    make();
    const resized = new ResizeObserver(() => plot.current?.setSize({ width: element.clientWidth, height }));
    resized.observe(element);
    // Paper has the light colours.
    const media = ['(prefers-color-scheme: dark)', 'print'].map((text) => matchMedia(text));
    for (const one of media) one.addEventListener('change', make);
    return () => {
      for (const one of media) one.removeEventListener('change', make);
      resized.disconnect();
      plot.current?.destroy();
      plot.current = null;
    };
  }, [labels, chosen, height, props.kind]);
  useEffect(() => {
    plot.current?.setData(dataOf(props));
  }, [props.times, props.values]);
  return (
    <figure>
      <div ref={box} class="chart" style={{ height: `${height}px` }} role="img" aria-label={label} />
      <figcaption ref={legend} class="legend">
        {series.map((one) => (
          <span key={one.label} class="outcome" style={{ '--colour': `var(${one.colour})` }}>
            {one.label} <span class="value" />
          </span>
        ))}
      </figcaption>
    </figure>
  );
}

/** The first series is at the bottom: each is drawn from 0 up to the sum, the highest first. */
function dataOf({ times, values }: ChartProps): uPlot.AlignedData {
  const sums: number[][] = [];
  const below = new Array<number>(times.length).fill(0);
  for (const row of values) {
    row.forEach((value, index) => {
      below[index] = (below[index] ?? 0) + value;
    });
    sums.push([...below]);
  }
  return [[...times], ...sums.reverse()] as uPlot.AlignedData;
}

type Latest = { readonly current: ChartProps };

function optionsOf(
  latest: Latest,
  element: HTMLElement,
  legend: { readonly current: HTMLElement | null },
): uPlot.Options {
  const style = getComputedStyle(element);
  const colourOf = (name: string) => resolveColour(element, name);
  const { series, height = 220, kind = 'areas', formatTime = clockOf } = latest.current;
  const axis = { stroke: colourOf('--soft'), font: `12px ${style.fontFamily}`, ticks: { show: false } };
  const grid = { stroke: colourOf('--line'), width: 1 };
  const paths = kind === 'bars' ? uPlot.paths.bars?.({ size: [0.8, 60] }) : undefined;
  return {
    width: element.clientWidth,
    height,
    legend: { show: false },
    cursor: { y: false, points: { show: false }, drag: { x: false, y: false } },
    padding: [8, 8, 0, 0],
    scales: {
      x: { time: true, range: (_, from, to) => rangeOf(latest.current, from, to) },
      y: { range: (_, __, to) => [0, Math.max(1, to * 1.08)] },
    },
    axes: [
      {
        ...{ ...axis, grid: { show: false }, space: LABEL_PX, size: 28 },
        // uPlot can ask for times that are none while there are no data.
        values: (plot, times) =>
          times.map((time) => (Number.isFinite(time) ? whole(plot, time, formatTime(time), axis.font) : '')),
        ...(kind === 'bars' && {
          splits: (plot: uPlot) => thinOut(latest.current.times, plot.width / LABEL_PX),
        }),
      },
      {
        ...{ ...axis, grid, size: 52, space: 40 },
        // Counts have no fractions.
        values: (_, values) =>
          values.map((value) => (kind === 'bars' && value % 1 !== 0 ? '' : formatCompact(value))),
      },
    ],
    series: [
      {},
      ...[...series].reverse().map(({ label, colour }) => ({
        ...{ label, stroke: colourOf(colour), fill: colourOf(colour), width: 0, points: { show: false } },
        ...(paths && { paths }),
      })),
    ],
    hooks: {
      setCursor: [(plot) => showLegend(latest.current, legend.current, plot.cursor.idx ?? null)],
      setData: [(plot) => showLegend(latest.current, legend.current, plot.cursor.idx ?? null)],
      ready: [() => showLegend(latest.current, legend.current, null)],
    },
  };
}

/** The label of a time; '' if it would be cut off at the right edge. */
function whole(plot: uPlot, time: number, label: string, font: string): string {
  // uPlot relies on its font to stay.
  const before = plot.ctx.font;
  plot.ctx.font = font;
  const { width } = plot.ctx.measureText(label);
  plot.ctx.font = before;
  const right = plot.valToPos(time, 'x') + width / 2;
  return right <= plot.width - plot.bbox.left / uPlot.pxRatio ? label : '';
}

/** At most `count` of the times, evenly spaced. */
function thinOut(times: readonly number[], count: number): number[] {
  const step = Math.max(1, Math.ceil(times.length / Math.max(1, count)));
  return times.filter((_, index) => index % step === 0);
}

function rangeOf(
  { windowSeconds, kind, times }: ChartProps,
  from: number | null,
  to: number | null,
): [number, number] {
  const last = to ?? Date.now() / 1_000;
  if (windowSeconds !== undefined) return [last - windowSeconds, last];
  // Half a bar on each side.
  const margin = kind === 'bars' ? ((times[1] ?? 0) - (times[0] ?? 0)) / 2 || 43_200 : 0;
  return [(from ?? last - 60) - margin, last + margin];
}

/** A canvas knows no CSS variables, and `light-dark()` only as a computed value. */
function resolveColour(element: HTMLElement, name: string): string {
  const probe = document.createElement('span');
  probe.style.color = `var(${name})`;
  element.append(probe);
  const { color } = getComputedStyle(probe);
  probe.remove();
  return color;
}

/** The values under the mouse; otherwise the last ones, or the sums of bars. */
function showLegend(
  { values, kind, formatValue = formatCount }: ChartProps,
  legend: HTMLElement | null,
  index: number | null,
): void {
  legend?.querySelectorAll('.value').forEach((element, series) => {
    const row = values[series];
    const whole = kind === 'bars' ? row?.reduce((sum, one) => sum + one, 0) : row?.at(-1);
    const value = index === null ? whole : row?.[index];
    element.textContent = value === undefined ? '–' : formatValue(value);
  });
}
