import { formatClock, formatCount } from '../../format.ts';
import { reasons } from '../../live.ts';
import { nameOfReason, texts } from '../../texts.ts';
import { Panel } from '../../ui/page.tsx';
import { Empty } from '../../ui/state.tsx';
import { Table } from '../../ui/table.tsx';

type Row = NonNullable<typeof reasons.value>['rows'][number];

/** Why clicks were not charged. */
export function ReasonsPanel() {
  const words = texts.live.reasons;
  const now = reasons.value;
  const columns = [
    {
      label: words.reason,
      cell: ({ outcome, reason }: Row) => (
        <span class={`outcome wraps ${outcome}`}>{nameOfReason(reason)}</span>
      ),
    },
    { label: words.clicks, isNumber: true, cell: ({ clicks }: Row) => formatCount(clicks) },
  ];
  return (
    <Panel title={words.title} note={now && words.since(formatClock(now.since))} span={4} flush>
      {now && now.rows.length > 0 ? (
        <Table
          label={words.title}
          columns={columns}
          rows={now.rows}
          keyOf={({ outcome, reason }) => `${outcome} ${reason}`}
        />
      ) : (
        <Empty title={now ? words.empty : texts.controls.loading} />
      )}
    </Panel>
  );
}
