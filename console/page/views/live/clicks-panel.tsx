import { formatRate } from '../../format.ts';
import { CHART_SECONDS, OUTCOMES, type Second, seconds } from '../../live.ts';
import { nameOfOutcome, texts } from '../../texts.ts';
import { Chart } from '../../ui/chart.tsx';
import { Panel } from '../../ui/page.tsx';

const SERIES = OUTCOMES.map((outcome) => ({
  label: nameOfOutcome(outcome),
  colour: `--${outcome.replace('_', '-')}`,
}));

type Props = {
  readonly span?: 8 | undefined;
  /** Seconds that the chart shows, at most `CHART_SECONDS`. */
  readonly windowSeconds?: number;
};

/** Clicks per second by outcome. */
export function ClicksPanel({ span, windowSeconds = CHART_SECONDS }: Props) {
  const words = texts.live.clicks;
  const from = (seconds.value.at(-1)?.at ?? 0) - windowSeconds;
  const list = seconds.value.filter(({ at }) => at > from);
  return (
    <Panel title={words.title} note={words.note(windowSeconds / 60)} {...(span && { span })}>
      <Chart
        label={words.chart(windowSeconds / 60)}
        times={list.map(({ at }) => at)}
        series={SERIES}
        values={OUTCOMES.map((_, index) => list.map((second) => rateOf(second, index)))}
        windowSeconds={windowSeconds}
        formatValue={formatRate}
        height={268}
      />
    </Panel>
  );
}

const rateOf = ({ counts, length }: Second, index: number) => Math.max(0, counts[index] ?? 0) / length;
