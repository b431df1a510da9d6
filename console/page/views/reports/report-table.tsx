import type * as z from 'zod';
import { csvLine } from '../../../../common/csv.ts';
import type { Report } from '../../../api/routes/reports.ts';
import { sumAmounts } from '../../amounts.ts';
import { formatCount, formatDay, formatTime } from '../../format.ts';
import { type Names, useNames } from '../../names.ts';
import { useResource } from '../../resource.ts';
import { nameOfOutcome, nameOfReason, texts } from '../../texts.ts';
import { Button, saveText } from '../../ui/button.tsx';
import { Empty, Loaded } from '../../ui/state.tsx';
import { type Column, Table } from '../../ui/table.tsx';
import { Amount, Time } from '../../ui/values.tsx';
import type { Filter } from './filter.ts';
import { csvNameOf } from './period.ts';

type ReportData = z.input<typeof Report>;
type Row = ReportData['rows'][number];

const words = texts.reports;

/** What the lines of a report can be by. */
export const KEYS: readonly string[] = Object.keys(words.keys);
/** Lines that the table shows; the CSV has all. */
const SHOWN_MAX = 500;

/** The sums of a report, as first reported and as corrected by credits. */
export function ReportTable({ filter: { advertiser, campaignId, days, by } }: { readonly filter: Filter }) {
  const report = useResource<ReportData>('/v1/reports', {
    ...{ since: days.since, until: days.until, by, advertiserId: advertiser?.id, campaignId },
  });
  const rows = report.data?.rows ?? [];
  const names = useNames({
    advertisers: idsIn(rows, 'advertiserId'),
    campaigns: idsIn(rows, 'campaignId'),
    ads: idsIn(rows, 'adId'),
  });
  return (
    <div class="report">
      <Loaded resource={report} lines={8}>
        {(data) => <Lines data={data} days={days} by={by} names={names} />}
      </Loaded>
    </div>
  );
}

function Lines({
  data,
  days,
  by,
  names,
}: {
  readonly data: ReportData;
  readonly days: Filter['days'];
  readonly by: readonly string[];
  readonly names: Names;
}) {
  const { rows, timeZone, asOf } = data;
  if (rows.length === 0) return <Empty title={words.empty}>{words.emptyLead}</Empty>;
  const totalOf = (key: 'charged' | 'corrected') => {
    const [{ currency } = { currency: '' }] = rows;
    // Amounts of different currencies are not added.
    if (rows.some((row) => row.currency !== currency)) return undefined;
    return <Amount value={sumAmounts(rows.map((row) => row[key]))} currency={currency} />;
  };
  const columns: Column<Row>[] = [
    ...by.map((key, index) => ({
      foot: index === 0 ? words.total : undefined,
      label: words.keys[key] ?? key,
      cell: (row: Row) => cellOf(row, key, names, timeZone),
    })),
    {
      label: words.clicks,
      isNumber: true,
      cell: ({ clicks }) => formatCount(clicks),
      foot: formatCount(sumOf(rows)),
    },
    {
      label: words.charged,
      isNumber: true,
      cell: ({ charged, currency }) => <Amount value={charged} currency={currency} />,
      foot: totalOf('charged'),
    },
    {
      label: words.corrected,
      isNumber: true,
      cell: ({ corrected, currency }) => <Amount value={corrected} currency={currency} />,
      foot: totalOf('corrected'),
    },
  ];
  return (
    <>
      <Table
        isStacked
        label={words.table}
        columns={columns}
        rows={rows.slice(0, SHOWN_MAX)}
        keyOf={(_, index) => index}
      />
      <div class="table-foot">
        <Button isSmall onClick={() => save(data, days, by, names)}>
          {words.csv}
        </Button>
        <span>
          {rows.length > SHOWN_MAX && `${words.tooMany(formatCount(SHOWN_MAX), formatCount(rows.length))} `}
          {words.charged}: {words.chargedHint}. {words.corrected}: {words.correctedHint}. {words.asOf}{' '}
          <Time at={asOf} zone={timeZone} />. {texts.units.zone(timeZone)}.
        </span>
      </div>
    </>
  );
}

const idsIn = (rows: readonly Row[], key: 'advertiserId' | 'campaignId' | 'adId') =>
  rows.flatMap((row) => row[key] ?? []);

const sumOf = (rows: readonly Row[]) => rows.reduce((sum, { clicks }) => sum + clicks, 0);

/** The value of a key of a line, in words. */
function cellOf(row: Row, key: string, names: Names, timeZone: string) {
  switch (key) {
    case 'day':
      return row.day && formatDay(row.day);
    case 'hour':
      return row.hour && formatTime(row.hour, timeZone);
    case 'advertiser':
      return (
        row.advertiserId && (
          <a href={`/advertisers/${row.advertiserId}`}>{names.advertiser(row.advertiserId)}</a>
        )
      );
    case 'campaign':
      return row.campaignId && <a href={`/campaigns/${row.campaignId}`}>{names.campaign(row.campaignId)}</a>;
    case 'ad':
      return row.adId && <a href={`/ads/${row.adId}`}>{adOf(row.adId, names)}</a>;
    case 'publisher':
      return row.publisher ?? <span class="soft">{words.noPublisher}</span>;
    case 'outcome':
      return <span class={`outcome ${row.outcome}`}>{nameOfOutcome(row.outcome ?? '')}</span>;
    default:
      return row.reason ? nameOfReason(row.reason) : words.noReason;
  }
}

/** An ad with its id: several can have the same name. */
function adOf(id: number, names: Names): string {
  const name = names.adName(id);
  return name === null ? names.ad(id) : texts.ads.name(id, name);
}

/** Saves all lines, with ids and with names. */
function save({ rows }: ReportData, days: Filter['days'], by: readonly string[], names: Names): void {
  const cells = by.flatMap((key): { header: string; of: (row: Row) => string | number | null }[] => {
    const ids = { advertiser: 'advertiserId', campaign: 'campaignId', ad: 'adId' } as const;
    if (!(key in ids))
      return [
        { header: key, of: (row) => row[key as 'day' | 'hour' | 'publisher' | 'outcome' | 'reason'] ?? null },
      ];
    const kind = key as keyof typeof ids;
    const idOf = (row: Row) => row[ids[kind]] ?? null;
    return [
      { header: ids[kind], of: idOf },
      { header: kind, of: (row) => names[kind](idOf(row) ?? 0) },
    ];
  });
  const header = [...cells.map((cell) => cell.header), 'currency', 'clicks', 'charged', 'corrected'];
  const lines = rows.map((row) => [
    ...cells.map(({ of }) => of(row)),
    row.currency,
    row.clicks,
    row.charged,
    row.corrected,
  ]);
  const text = [header, ...lines].map((line) => `${csvLine(line)}\r\n`).join('');
  saveText(csvNameOf(days), 'text/csv', text);
}
