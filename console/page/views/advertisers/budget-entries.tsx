import type { Advertiser, BudgetEntry } from '../../entities.ts';
import { usePages, useReload } from '../../resource.ts';
import { can } from '../../session.ts';
import { texts } from '../../texts.ts';
import { Panel } from '../../ui/page.tsx';
import { Empty } from '../../ui/state.tsx';
import { type Column, ListTable } from '../../ui/table.tsx';
import { Amount, Time } from '../../ui/values.tsx';

const words = texts.advertisers.entries;

type Props = { readonly advertiser: Advertiser; readonly version: number };

/** The entries of a budget: top-ups, adjustments and credits. */
export function BudgetEntries({ advertiser: { id, timeZone, budget }, version }: Props) {
  const path = `/v1/advertisers/${id}/budget-entries`;
  const pages = usePages<BudgetEntry>(path, { newestFirst: true, limit: 20 });
  useReload(pages.reload, `${version} ${budget}`);
  const columns: readonly Column<BudgetEntry>[] = [
    { label: words.columns.at, cell: ({ createdAt }) => <Time at={createdAt} zone={timeZone} /> },
    { label: words.columns.kind, cell: ({ kind }) => words.kinds[kind] },
    {
      label: words.columns.reference,
      cell: ({ reference, clickId }) =>
        clickId === null ? (
          <span class="break">{reference}</span>
        ) : (
          <a class="mono break" href={`/clicks/${clickId}`}>
            {clickId}
          </a>
        ),
    },
    {
      label: words.columns.amount,
      isNumber: true,
      cell: ({ amount, currency }) => <Amount value={amount} currency={currency} />,
    },
  ];
  const empty = (
    <Empty title={words.none}>{can('budgets.write') ? words.noneLead : words.noneLeadReader}</Empty>
  );
  return (
    <Panel title={words.title} note={texts.units.zone(timeZone)} span={7} flush>
      <ListTable isStacked label={words.title} keyOf={(entry) => entry.id} {...{ columns, pages, empty }} />
    </Panel>
  );
}
