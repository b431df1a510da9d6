import type * as z from 'zod';
import type { Operations } from '../../../api/routes/operations-schemas.ts';
import { formatBytes, formatCount, formatDay, formatDuration, formatRate } from '../../format.ts';
import { useResource } from '../../resource.ts';
import { texts } from '../../texts.ts';
import { Panel } from '../../ui/page.tsx';
import { Empty, Loaded, Note } from '../../ui/state.tsx';
import { type Column, Table } from '../../ui/table.tsx';
import { Ago, Time } from '../../ui/values.tsx';

export type OperationsData = z.input<typeof Operations>;
type Part = OperationsData['parts'][number];
type Spool = OperationsData['spools'][number];
type Partition = OperationsData['backlog']['partitions'][number];

const { parts: words, backlog, spools, upkeep } = texts.operations;
/** Time between two reads, in ms; the parts report as often. */
const READ_MS = 2_000;

/** The parts and what waits in them. */
export function PartsTab() {
  const operations = useResource<OperationsData>('/v1/operations', {}, READ_MS);
  return (
    <Loaded resource={operations} lines={10}>
      {(data) => (
        <div class="grid">
          <PartsPanel parts={data.parts} />
          <BacklogPanel backlog={data.backlog} />
          <UpkeepPanel data={data} />
          <SpoolsPanel list={data.spools} />
        </div>
      )}
    </Loaded>
  );
}

const TONES: Readonly<Record<string, string>> = {
  ready: 'good',
  warning: 'warn',
  not_ready: 'bad',
  no_answer: 'bad',
  unknown: 'warn',
};
const seconds = (value: number | null) => (value === null ? '–' : formatDuration(value));
const count = (value: number | null) => (value === null ? '–' : formatCount(value));

const PARTS: readonly Column<Part>[] = [
  { label: words.part, cell: ({ component }) => words.components[component] ?? component },
  { label: words.instance, cell: ({ instance }) => <span class="mono break">{instance}</span> },
  {
    label: words.state,
    cell: ({ state, problems, warnings }) => (
      <>
        <span class={`tag ${TONES[state]}`}>{words.states[state] ?? state}</span>
        {[...problems, ...warnings].map((text) => (
          <span key={text} class="sub">
            {text}
          </span>
        ))}
      </>
    ),
  },
  { label: words.doing, isMinor: true, cell: (part) => doingOf(part) },
  { label: words.reported, isNumber: true, cell: ({ reportedAt }) => <Ago at={reportedAt} /> },
  { label: words.started, isNumber: true, isMinor: true, cell: ({ startedAt }) => <Time at={startedAt} /> },
  { label: words.version, isNumber: true, isMinor: true, cell: ({ version }) => version },
];

/** What a part does now, in one line. */
function doingOf({ component, state, numbers }: Part): string {
  // Its numbers are those of its last report.
  if (state === 'no_answer' || state === 'unknown') return words.unknownDoing;
  const rate = (value: number | null) => (value === null ? '–' : formatRate(value));
  switch (component) {
    case 'ad-server':
      return words.redirects(rate(numbers.redirectsPerSecond)) + p99Of(numbers.redirectP99Seconds);
    case 'processor':
      if (numbers.isBlocked) return words.blocked;
      return (
        words.settles(rate(numbers.settledPerSecond)) + p99Of(numbers.clickToChargeP99Seconds, words.toLedger)
      );
    case 'console':
      return words.requests(rate(numbers.requestsPerSecond)) + p99Of(numbers.requestP99Seconds);
    default:
      return component satisfies never;
  }
}

/** The p99 of what happened lately; nothing happened, no text. */
function p99Of(value: number | null, of: (duration: string) => string = words.p99): string {
  if (value === null) return '';
  return `, ${of(value < 1 ? texts.units.milliseconds(formatRate(value * 1_000)) : formatDuration(value))}`;
}

function PartsPanel({ parts }: { readonly parts: readonly Part[] }) {
  return (
    <Panel title={words.title} flush>
      {parts.length === 0 ? (
        <Empty title={words.empty}>{words.emptyLead}</Empty>
      ) : (
        <Table
          label={words.title}
          columns={PARTS}
          rows={parts}
          keyOf={(part) => `${part.component} ${part.instance}`}
        />
      )}
    </Panel>
  );
}

function BacklogPanel({
  backlog: { records, oldestAgeSeconds, partitions },
}: {
  readonly backlog: OperationsData['backlog'];
}) {
  const columns: Column<Partition>[] = [
    { label: backlog.partition, cell: ({ broker, name }) => `${broker} ${name}`, foot: backlog.total },
    {
      label: backlog.records,
      isNumber: true,
      cell: (one) => formatCount(one.records),
      foot: records === null ? backlog.unknown : formatCount(records),
    },
    {
      label: backlog.oldest,
      isNumber: true,
      cell: (one) => formatDuration(one.oldestAgeSeconds),
      foot: seconds(oldestAgeSeconds),
    },
    { label: backlog.position, isNumber: true, isMinor: true, cell: ({ position }) => position ?? '–' },
    {
      label: backlog.readers,
      isMinor: true,
      cell: ({ readers }) => <span class="mono">{readers.join(', ')}</span>,
    },
  ];
  return (
    <Panel title={backlog.title} span={8} flush>
      {records === null && (
        <div class="body">
          <Note tone="warn">{backlog.notReported}</Note>
        </div>
      )}
      <Table
        label={backlog.title}
        columns={columns}
        rows={partitions}
        keyOf={({ broker, name }) => `${broker} ${name}`}
      />
    </Panel>
  );
}

function UpkeepPanel({
  data: { maintenance, reports, webhooks, deadLetters },
}: {
  readonly data: OperationsData;
}) {
  return (
    <Panel title={upkeep.title} span={4}>
      <dl class="facts">
        <dt>{upkeep.last}</dt>
        <dd>{maintenance.lastAt === null ? texts.units.never : <Ago at={maintenance.lastAt} />}</dd>
        <dt>{upkeep.ahead}</dt>
        <dd>{count(maintenance.partitionsAheadDays)}</dd>
        <dt>{upkeep.oldest}</dt>
        <dd>{maintenance.oldestDay === null ? '–' : formatDay(maintenance.oldestDay)}</dd>
        <dt>{upkeep.reports}</dt>
        <dd>{reports.asOf === null ? '–' : <Ago at={reports.asOf} />}</dd>
        <dt>{upkeep.webhooks}</dt>
        <dd>{formatCount(webhooks.waiting)}</dd>
        <dt>{upkeep.failing}</dt>
        <dd>
          <a href="/operations/webhooks">{formatCount(webhooks.failing)}</a>
        </dd>
        <dt>{upkeep.deadLetters}</dt>
        <dd>
          <a href="/operations/dead-letters">{formatCount(deadLetters)}</a>
        </dd>
      </dl>
    </Panel>
  );
}

const SPOOLS: readonly Column<Spool>[] = [
  { label: spools.instance, cell: ({ instance }) => <span class="mono break">{instance}</span> },
  {
    label: spools.size,
    isNumber: true,
    cell: ({ bytes, bytesMax }) =>
      bytes === null ? '–' : `${formatBytes(bytes)}${bytesMax === null ? '' : ` / ${formatBytes(bytesMax)}`}`,
  },
  { label: spools.accepted, isNumber: true, isMinor: true, cell: ({ accepted }) => count(accepted) },
  { label: spools.relayed, isNumber: true, isMinor: true, cell: ({ relayed }) => count(relayed) },
  { label: spools.unrecorded, isNumber: true, cell: ({ unrecorded }) => count(unrecorded) },
  { label: spools.oldest, isNumber: true, cell: ({ oldestAgeSeconds }) => seconds(oldestAgeSeconds) },
  { label: spools.asOf, isNumber: true, isMinor: true, cell: ({ asOf }) => <Ago at={asOf} /> },
];

function SpoolsPanel({ list }: { readonly list: readonly Spool[] }) {
  return (
    <Panel title={spools.title} flush>
      <Table label={spools.title} columns={SPOOLS} rows={list} keyOf={({ instance }) => instance} />
    </Panel>
  );
}
