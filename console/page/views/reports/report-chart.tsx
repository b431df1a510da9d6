import type * as z from 'zod';
import type { Report } from '../../../api/routes/reports.ts';
import { formatClock, formatShortDate } from '../../format.ts';
import { useResource } from '../../resource.ts';
import { nameOfOutcome, texts } from '../../texts.ts';
import { Chart } from '../../ui/chart.tsx';
import { Loaded } from '../../ui/state.tsx';
import type { Filter } from './filter.ts';
import { addDays, countDays, dayIn } from './period.ts';

type ReportData = z.input<typeof Report>;

const OUTCOMES = [
  ['charged', '--charged'],
  ['over_budget', '--over-budget'],
  ['invalid', '--invalid'],
  ['rejected', '--rejected'],
] as const;
const SERIES = OUTCOMES.map(([outcome, colour]) => ({ label: nameOfOutcome(outcome), colour }));
/** Days of a period up to which the chart has a bar for each hour. */
const HOURLY_DAYS_MAX = 3;
const HEIGHT = 220;

/** The clicks of the period by outcome, a bar for each day; for each hour in a short period. */
export function ReportChart({ filter: { advertiser, campaignId, days } }: { readonly filter: Filter }) {
  const isHourly = countDays(days) <= HOURLY_DAYS_MAX;
  const unit = isHourly ? 'hour' : 'day';
  const report = useResource<ReportData>('/v1/reports', {
    ...{
      since: days.since,
      until: days.until,
      by: `${unit},outcome`,
      advertiserId: advertiser?.id,
      campaignId,
    },
  });
  return (
    <div class="body">
      <Loaded resource={report} lines={10}>
        {(data) => {
          const { times, values } = seriesOf(data, unit);
          const zone = isHourly ? data.timeZone : 'UTC';
          const format = isHourly ? formatClock : formatShortDate;
          return (
            <Chart
              label={words.chartOf(words.keys[unit] ?? unit)}
              kind="bars"
              series={SERIES}
              formatTime={(seconds) => format(new Date(seconds * 1_000).toISOString(), zone)}
              height={HEIGHT}
              {...{ times, values }}
            />
          );
        }}
      </Loaded>
    </div>
  );
}

const words = texts.reports;

/** The sums of each outcome at each day or hour of the period, also those without clicks. */
function seriesOf({ rows, since, until, timeZone }: ReportData, unit: 'day' | 'hour'): Series {
  const times = unit === 'day' ? daysBetween(since, until, timeZone) : hoursBetween(since, until);
  const indexes = new Map(times.map((time, index) => [time, index]));
  const values = OUTCOMES.map(() => new Array<number>(times.length).fill(0));
  for (const row of rows) {
    const line = values[OUTCOMES.findIndex(([outcome]) => outcome === row.outcome)];
    const index = indexes.get(unixSeconds(unit === 'day' ? `${row.day}T00:00:00Z` : String(row.hour)));
    if (line && index !== undefined) line[index] = (line[index] ?? 0) + row.clicks;
  }
  return { times, values };
}

type Series = { readonly times: number[]; readonly values: number[][] };

const unixSeconds = (time: string) => Date.parse(time) / 1_000;

/** The days of a period as the midnights of UTC, because a day has no time zone. */
function daysBetween(since: string, until: string, timeZone: string): number[] {
  const times: number[] = [];
  const end = dayIn(new Date(Date.parse(until) - 1), timeZone);
  for (let day = dayIn(new Date(since), timeZone); day <= end; day = addDays(day, 1))
    times.push(unixSeconds(`${day}T00:00:00Z`));
  return times;
}

const HOUR_SECONDS = 3_600;

function hoursBetween(since: string, until: string): number[] {
  const times: number[] = [];
  for (let time = unixSeconds(since); time < unixSeconds(until); time += HOUR_SECONDS) times.push(time);
  return times;
}
