import { TollwayError } from '../../common/errors.ts';
import { parseTime } from '../../common/parse-time.ts';
import { type Connection, inTransaction, type Pool } from '../../common/postgres/postgres.ts';
import { printable } from '../../common/text.ts';
import { assertFilterExists, type ClickFilter } from '../click-filter.ts';
import { inServerTimeZone } from '../server-time-zones.ts';

/** What a report can be broken down by, in the order of its columns. */
export const REPORT_KEYS = [
  'hour',
  'day',
  'advertiser',
  'campaign',
  'ad',
  'publisher',
  'outcome',
  'reason',
] as const;
export type ReportKey = (typeof REPORT_KEYS)[number];

export type ReportFilter = ClickFilter & {
  /** Only clicks of this ad. */
  readonly adId?: number | undefined;
  /** A time, or a day (`2026-01-31`): its beginning in `timeZone`. Inclusive. */
  readonly since: Date | string;
  /** As `since`; exclusive. */
  readonly until: Date | string;
  /** IANA name of the time zone of days and hours. Default: that of the advertiser in the filter, otherwise UTC. */
  readonly timeZone?: string;
  readonly by: readonly ReportKey[];
  /** Most rows of the report. Default: no limit. */
  readonly rowsMax?: number;
};

/** The clicks of one row. Keys that the report is not broken down by are absent. */
export type ReportRow = {
  readonly hour?: Date;
  /** `2026-01-31` */
  readonly day?: string;
  readonly advertiserId?: number;
  readonly campaignId?: number;
  readonly adId?: number;
  readonly publisher?: string | null;
  readonly outcome?: string;
  readonly reason?: string | null;
  readonly currency: string;
  readonly clicks: bigint;
  /** As first reported: the sum of the charges. */
  readonly chargedMicros: bigint;
  /** As corrected: without the charges that credits gave back, whenever they were entered. */
  readonly correctedMicros: bigint;
};

export type Report = {
  readonly since: Date;
  readonly until: Date;
  /** All clicks that were settled before this time are in the report, and no other. */
  readonly asOf: Date;
  readonly timeZone: string;
  readonly rows: readonly ReportRow[];
};

/** The bounds of a report are multiples of a quarter of an hour. */
export const QUARTER_MS = 900_000;
/** Columns of each key: of the rows that `sourceOf` selects, of the sums by those, their order, and their names in a `ReportRow`. */
const COLUMNS: Readonly<
  Record<
    ReportKey,
    { readonly source: string; readonly sum: string; readonly order: string; readonly name: string }
  >
> = {
  hour: {
    source: 'quarter - make_interval(mins => extract(minute from quarter at time zone $3)::int) as hour',
    sum: 'hour',
    order: 'hour',
    name: 'hour',
  },
  // Ordered by the date: texts are compared more slowly.
  day: { source: 'day', sum: 'day::text', order: 'sums.day', name: 'day' },
  advertiser: plainColumn('advertiser_id', 'advertiserId'),
  campaign: plainColumn('campaign_id', 'campaignId'),
  ad: plainColumn('ad_id', 'adId'),
  publisher: {
    source: 'publisher',
    sum: "nullif(publisher, '')",
    order: "nullif(publisher, '')",
    name: 'publisher',
  },
  outcome: { source: 'outcome', sum: 'outcome::text', order: 'outcome::text', name: 'outcome' },
  reason: { source: 'reason', sum: "nullif(reason, '')", order: "nullif(reason, '')", name: 'reason' },
};
function plainColumn(column: string, name: string) {
  return { source: column, sum: column, order: column, name };
}
/** Each has one value of the next ones: an ad never changes its campaign, nor a campaign its advertiser. Fewer columns to group by are faster. */
const UNITS: readonly string[] = ['ad_id', 'campaign_id', 'advertiser_id'];
const SUMMED =
  'advertiser_id, campaign_id, ad_id, publisher, outcome, reason, clicks, charged_micros, credited_micros';

/**
 * Sums the clicks of a period, by the time of the click, from the rollup: exact as of `asOf`, and after the ledger has dropped its days
 * too. Amounts of different currencies are never added. Call `rollUp` before, so that `asOf` is now.
 *
 * Throws `bad_window` (an end before the start, or a bound that is not a quarter of an hour), `bad_time_zone`, `unknown_advertiser`,
 * `unknown_campaign`, `unknown_ad`, `too_many_rows`.
 */
export function readReport(pool: Pool, filter: ReportFilter): Promise<Report> {
  // One snapshot, so that the sums are those of `asOf`.
  return inTransaction(
    pool,
    (connection) => readReportIn(connection, filter),
    'begin isolation level repeatable read, read only',
  );
}

async function readReportIn(connection: Connection, filter: ReportFilter): Promise<Report> {
  await assertFilterExists(connection, filter);
  // Sums of a month by ad and day fit, so that they are hashed. With the default of 4 MB, all rows would be sorted on disk.
  await connection.query("set local work_mem = '64MB'");
  const timeZone = await timeZoneOf(connection, filter);
  const { since, until, asOf, areDays } = await inServerTimeZone(boundsOf(connection, filter, timeZone));
  const isByDay = areDays && !filter.by.includes('hour');
  const source = sourceOf(isByDay, isByDay && (await hasOtherZones(connection, filter, timeZone)));
  const { rows } = await connection.query<ReportRow>(`${reportQuery(source, filter.by)} limit $8`, [
    since,
    until,
    timeZone,
    filter.advertiserId ?? null,
    filter.campaignId ?? null,
    filter.publisher ?? null,
    filter.adId ?? null,
    filter.rowsMax === undefined ? null : filter.rowsMax + 1,
  ]);
  if (filter.rowsMax !== undefined && rows.length > filter.rowsMax)
    throw new TollwayError(
      'too_many_rows',
      `Expected a report of at most ${filter.rowsMax} rows, got more: narrow the period, the filter or the keys (by)`,
    );
  return { since, until, asOf, timeZone, rows };
}

/**
 * Sums the rows first, and joins, converts and orders only the sums: of a month these are a few per cent of the rows. Sums of several
 * advertisers are added up then, unless a key tells their advertisers apart.
 */
function reportQuery(source: string, by: readonly ReportKey[]): string {
  const columns = columnsOf(by);
  const sources = [...new Set([...columns.map(({ source }) => source), 'advertiser_id'])];
  const unit = UNITS.find((column) => sources.includes(column));
  const isImplied = (source: string) => source !== unit && UNITS.includes(source);
  const perAdvertiser = `select ${sources.map((source) => (isImplied(source) ? `min(${source}) as ${source}` : source)).join(', ')},
      bigint_sum(clicks) as clicks, bigint_sum(charged_micros) as charged, bigint_sum(credited_micros) as credited
    from (${source}) source where ($4::integer is null or advertiser_id = $4) and ($5::integer is null or campaign_id = $5)
      and ($6::text is null or publisher = $6) and ($7::integer is null or ad_id = $7)
    group by ${sources.flatMap((source, index) => (isImplied(source) ? [] : [index + 1])).join(', ')}`;
  const keys = [...columns.map(({ sum, name }) => `${sum} as "${name}"`), 'currency'].join(', ');
  const orders = columns.map(({ order }) => order);
  const isUnique = by.some((key) => key === 'advertiser' || key === 'campaign' || key === 'ad');
  if (isUnique) {
    return `select ${keys}, clicks, charged as "chargedMicros", charged - credited as "correctedMicros"
      from (${perAdvertiser}) sums join advertiser on advertiser.id = advertiser_id
      where clicks > 0 or credited > 0 order by ${orders.join(', ')}`;
  }
  const order = [...orders, 'currency'].join(', ');
  return `select ${keys}, bigint_sum(clicks) as clicks, bigint_sum(charged) as "chargedMicros",
      bigint_sum(charged - credited) as "correctedMicros"
    from (${perAdvertiser}) sums join advertiser on advertiser.id = advertiser_id
    group by ${order} having bigint_sum(clicks) > 0 or bigint_sum(credited) > 0 order by ${order}`;
}

function columnsOf(by: readonly ReportKey[]) {
  return REPORT_KEYS.filter((key) => by.includes(key)).map((key) => COLUMNS[key]);
}

/** The names of the keys in each row of a report, in order: `day`, `campaignId`, … */
export function keyNamesOf(by: readonly ReportKey[]): string[] {
  return columnsOf(by).map(({ name }) => name);
}

/**
 * Rows of the period: sums by day of the advertisers whose days these are, and by quarter of an hour of the others. Without
 * `hasOthers`, all advertisers have these days, and their rows need no join.
 */
function sourceOf(isByDay: boolean, hasOthers: boolean): string {
  const quarters = `select (quarter at time zone $3)::date as day, quarter, ${SUMMED} from click_rollup
    where quarter >= $1 and quarter < $2`;
  if (!isByDay) return quarters;
  const days = `select day, null::timestamptz as quarter, ${SUMMED} from click_rollup_day
    where day >= ($1 at time zone $3)::date and day < ($2 at time zone $3)::date`;
  if (!hasOthers) return days;
  return `${days} and advertiser_id in (select id from advertiser where time_zone = $3)
    union all ${quarters} and advertiser_id in (select id from advertiser where time_zone <> $3)`;
}

/** Whether the report has an advertiser of another time zone. */
async function hasOtherZones(
  connection: Connection,
  { advertiserId }: ReportFilter,
  timeZone: string,
): Promise<boolean> {
  const { rowCount } = await connection.query(
    'select from advertiser where time_zone <> $1 and ($2::integer is null or id = $2) limit 1',
    [timeZone, advertiserId ?? null],
  );
  return rowCount === 1;
}

async function timeZoneOf(connection: Connection, { advertiserId, timeZone }: ReportFilter): Promise<string> {
  if (timeZone !== undefined) return timeZone;
  const { rows } = await connection.query<{ timeZone: string }>(
    'select time_zone as "timeZone" from advertiser where id = $1',
    [advertiserId ?? null],
  );
  return rows[0]?.timeZone ?? 'UTC';
}

async function boundsOf(
  connection: Connection,
  filter: ReportFilter,
  timeZone: string,
): Promise<{ since: Date; until: Date; asOf: Date; areDays: boolean }> {
  const { rows } = await connection.query<{ since: Date; until: Date; asOf: Date; areDays: boolean }>(
    `select since, until, rolled_to as "asOf",
       since = day_start((since at time zone $3)::date, $3) and until = day_start((until at time zone $3)::date, $3) as "areDays"
     from click_rollup_state, (select ${instant(filter.since, '$1')} as since, ${instant(filter.until, '$2')} as until) bounds`,
    [filter.since, filter.until, timeZone],
  );
  const [bounds] = rows;
  if (!bounds) throw new Error('Expected one row in click_rollup_state, got none. Run npm run migrate');
  const { since, until } = bounds;
  if (until <= since)
    throw new TollwayError(
      'bad_window',
      `Expected an end (until) after the beginning (since), got ${until.toISOString()} and ${since.toISOString()}`,
    );
  for (const bound of [since, until]) {
    if (bound.getTime() % QUARTER_MS !== 0)
      throw new TollwayError(
        'bad_window',
        `Expected a day or a quarter of an hour such as 2026-01-31T12:15:00Z, got ${bound.toISOString()}`,
      );
  }
  return bounds;
}

/** SQL of a bound: a day is its first instant in the time zone `$3`. */
function instant(bound: Date | string, parameter: string): string {
  return typeof bound === 'string' ? `day_start(${parameter}::date, $3)` : `${parameter}::timestamptz`;
}

/**
 * Reads a bound of a report: a day, which begins at midnight of the report's time zone, stays a text; a time or a length of time ago becomes
 * a `Date`, the latter rounded down to a quarter of an hour. Throws `bad_time`, `bad_duration`.
 */
export function parseReportTime(text: string): Date | string {
  const time = parseTime(text);
  if (/^\d{4}-\d{2}-\d{2}$/.test(text)) return text;
  return /^\d+[smhd]$/.test(text) ? new Date(Math.floor(time.getTime() / QUARTER_MS) * QUARTER_MS) : time;
}

/** Reads keys such as `day,campaign`. Throws `bad_options`. */
export function parseReportKeys(text: string): ReportKey[] {
  return text.split(',').map((word) => {
    const key = REPORT_KEYS.find((one) => one === word.trim());
    if (key === undefined)
      throw new TollwayError(
        'bad_options',
        `by: expected some of ${REPORT_KEYS.join(', ')}, got "${printable(word.trim())}"`,
      );
    return key;
  });
}
