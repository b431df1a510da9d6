import { sumAmounts } from '../../amounts.ts';
import { formatCount, formatMonth, formatTime } from '../../format.ts';
import { useResource } from '../../resource.ts';
import { nameOfReason, texts } from '../../texts.ts';
import type { AdvertiserChoice } from '../../ui/advertiser-picker.tsx';
import { Button, saveText } from '../../ui/button.tsx';
import { Empty, Loaded } from '../../ui/state.tsx';
import { type Column, Table } from '../../ui/table.tsx';
import { Amount } from '../../ui/values.tsx';
import { type StatementData, statementCsv } from './statement-csv.ts';

const words = texts.statements;

type Props = { readonly advertiser: AdvertiserChoice; readonly month: string };

/** The statement of a month of an advertiser, section by section. */
export function StatementPages({ advertiser, month }: Props) {
  const path = /^\d{4}-\d\d$/.test(month) ? `/v1/advertisers/${advertiser.id}/statements/${month}` : null;
  const statement = useResource<StatementData>(path);
  return (
    <div class="body">
      <Loaded resource={statement} lines={10}>
        {(data) => (
          <div class="stack statement">
            <Heading statement={data} advertiser={advertiser} />
            <Summary statement={data} />
            <Entries statement={data} />
            <Charges statement={data} />
            <Credits statement={data} />
            <Traffic statement={data} />
          </div>
        )}
      </Loaded>
    </div>
  );
}

type Section = { readonly statement: StatementData };

function Heading({ statement, advertiser }: Section & { readonly advertiser: AdvertiserChoice }) {
  const { month, timeZone, asOf } = statement;
  return (
    <div class="row apart">
      <div class="statement-head">
        <p class="strong">
          {advertiser.name}, {formatMonth(month)}
        </p>
        <p class="soft">
          {words.asOf} {formatTime(asOf, timeZone)}. {texts.units.zone(timeZone)}.
        </p>
      </div>
      <Button
        isSmall
        onClick={() =>
          saveText(`statement-${advertiser.id}-${month}.csv`, 'text/csv', statementCsv(statement))
        }
      >
        {words.csv}
      </Button>
    </div>
  );
}

function Summary({ statement }: Section) {
  const { opening, entries, charges, credits, closing, currency } = statement;
  const lines = [
    [words.opening, opening],
    [words.topUps, sumAmounts(entries.map(({ amount }) => amount))],
    [
      words.charges,
      sumAmounts(
        charges.map(({ amount }) => amount),
        -1n,
      ),
    ],
    [words.credits, sumAmounts(credits.map(({ amount }) => amount))],
  ] as const;
  const columns: Column<(typeof lines)[number]>[] = [
    { label: words.line, cell: ([name]) => name, foot: words.closing },
    {
      label: words.amount,
      isNumber: true,
      cell: ([, amount]) => <Amount value={amount} currency={currency} />,
      foot: <Amount value={closing} currency={currency} />,
    },
  ];
  return (
    <Titled title={words.summary}>
      <Table label={words.summary} columns={columns} rows={lines} keyOf={([name]) => name} />
    </Titled>
  );
}

function Entries({ statement: { entries, currency, timeZone } }: Section) {
  if (entries.length === 0) return null;
  const columns: Column<StatementData['entries'][number]>[] = [
    { label: words.at, cell: ({ at }) => formatTime(at, timeZone) },
    { label: words.kind, cell: ({ kind }) => words.kinds[kind] ?? kind },
    { label: words.reference, cell: ({ reference }) => <span class="break">{reference}</span> },
    {
      label: words.amount,
      isNumber: true,
      cell: ({ amount }) => <Amount value={amount} currency={currency} />,
    },
  ];
  return (
    <Titled title={words.entries}>
      <Table isStacked label={words.entries} columns={columns} rows={entries} keyOf={(_, index) => index} />
    </Titled>
  );
}

function Charges({ statement: { charges, currency } }: Section) {
  if (charges.length === 0) {
    return (
      <Titled title={words.charges}>
        <Empty title={words.noEntries} />
      </Titled>
    );
  }
  const columns: Column<StatementData['charges'][number]>[] = [
    {
      label: words.campaign,
      cell: ({ campaignId, campaignName }) => <a href={`/campaigns/${campaignId}`}>{campaignName}</a>,
    },
    {
      label: words.ad,
      cell: ({ adId, adName }) => <a href={`/ads/${adId}`}>{texts.ads.name(adId, adName)}</a>,
    },
    { label: words.clicks, isNumber: true, cell: ({ clicks }) => formatCount(clicks) },
    {
      label: words.amount,
      isNumber: true,
      cell: ({ amount }) => <Amount value={amount} currency={currency} />,
    },
  ];
  return (
    <Titled title={words.charges}>
      <Table isStacked label={words.charges} columns={columns} rows={charges} keyOf={({ adId }) => adId} />
    </Titled>
  );
}

function Credits({ statement: { credits, currency } }: Section) {
  if (credits.length === 0) return null;
  const columns: Column<StatementData['credits'][number]>[] = [
    { label: words.creditedMonth, cell: ({ month }) => formatMonth(month) },
    { label: words.clicks, isNumber: true, cell: ({ clicks }) => formatCount(clicks) },
    {
      label: words.amount,
      isNumber: true,
      cell: ({ amount }) => <Amount value={amount} currency={currency} />,
    },
  ];
  return (
    <Titled title={words.credits}>
      <Table label={words.credits} columns={columns} rows={credits} keyOf={({ month }) => month} />
    </Titled>
  );
}

function Traffic({ statement: { gross, invalid, net } }: Section) {
  const rows = [
    [words.gross, gross],
    ...invalid.map(({ reason, clicks }) => [`${words.invalid}: ${nameOfReason(reason)}`, clicks] as const),
  ] as const;
  const columns: Column<readonly [string, number]>[] = [
    { label: words.line, cell: ([name]) => name, foot: words.net },
    {
      label: words.clicks,
      isNumber: true,
      cell: ([, clicks]) => formatCount(clicks),
      foot: formatCount(net),
    },
  ];
  return (
    <Titled title={words.traffic}>
      <Table
        label={words.traffic}
        columns={columns}
        rows={rows as readonly (readonly [string, number])[]}
        keyOf={([name]) => name}
      />
    </Titled>
  );
}

function Titled({
  title,
  children,
}: {
  readonly title: string;
  readonly children: preact.ComponentChildren;
}) {
  return (
    <section>
      <h2>{title}</h2>
      {children}
    </section>
  );
}
