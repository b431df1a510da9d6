import type { Advertiser } from '../../entities.ts';
import { usePages } from '../../resource.ts';
import { go } from '../../router.ts';
import { can } from '../../session.ts';
import { texts } from '../../texts.ts';
import { Button } from '../../ui/button.tsx';
import { useDialog } from '../../ui/dialog.tsx';
import { clearFilters, isFiltered, ListFilters, listQuery } from '../../ui/list-filters.tsx';
import { Page, Panel } from '../../ui/page.tsx';
import { Empty } from '../../ui/state.tsx';
import { type Column, ListTable } from '../../ui/table.tsx';
import { Amount, StatusTag } from '../../ui/values.tsx';
import { Sections } from '../sections.tsx';
import { NewAdvertiser } from './advertiser-forms.tsx';
import { BudgetLeft, ExhaustedAt } from './budget-left.tsx';
import { budgetNow } from './budget-now.ts';

const words = texts.advertisers;

const columns: readonly Column<Advertiser>[] = [
  {
    label: words.columns.name,
    cell: (advertiser) => (
      <>
        <a class="strong break" href={`/advertisers/${advertiser.id}`}>
          {advertiser.name}
        </a>
        {budgetNow(advertiser).isSample && (
          <>
            {' '}
            <span class="tag" title={words.sampleAbout}>
              {words.sample}
            </span>
          </>
        )}
      </>
    ),
  },
  { label: words.columns.status, cell: ({ status }) => <StatusTag status={status} /> },
  {
    label: words.columns.left,
    isNumber: true,
    cell: (advertiser) => (
      <BudgetLeft now={budgetNow(advertiser)} name={advertiser.name} currency={advertiser.currency} />
    ),
  },
  {
    label: words.columns.budget,
    isNumber: true,
    cell: (advertiser) => <Amount value={budgetNow(advertiser).budget} currency={advertiser.currency} />,
  },
  {
    label: words.columns.spent,
    isNumber: true,
    cell: (advertiser) => <Amount value={budgetNow(advertiser).spent} currency={advertiser.currency} />,
  },
  {
    label: words.columns.rate,
    isNumber: true,
    cell: (advertiser) => {
      const { perHour } = budgetNow(advertiser);
      return perHour === null ? (
        <span class="soft">–</span>
      ) : (
        <Amount isEstimate value={perHour} currency={advertiser.currency} />
      );
    },
  },
  {
    label: words.columns.exhausted,
    isNumber: true,
    cell: (advertiser) => <ExhaustedAt now={budgetNow(advertiser)} zone={advertiser.timeZone} />,
  },
];

/** The advertisers with what is left of their budgets. */
export function AdvertiserList() {
  const pages = usePages<Advertiser>('/v1/advertisers', listQuery());
  const dialog = useDialog();
  const canCreate = can('advertisers.create');
  const create = (
    <Button look="primary" onClick={dialog.open}>
      {words.create.action}
    </Button>
  );
  const { none } = words;
  const empty = isFiltered() ? (
    <Empty title={none.notFound} actions={<Button onClick={clearFilters}>{none.clear}</Button>}>
      {none.notFoundLead}
    </Empty>
  ) : (
    <Empty title={none.title} actions={canCreate && create}>
      {canCreate ? none.lead : none.leadReader}
    </Empty>
  );
  return (
    <Page title={words.title} actions={canCreate && create}>
      <Sections current="advertisers" />
      <Panel flush>
        <ListFilters />
        <ListTable
          isStacked
          label={words.title}
          columns={columns}
          keyOf={({ id }) => id}
          {...{ pages, empty }}
        />
      </Panel>
      {dialog.isOpen && (
        <NewAdvertiser onDone={({ id }) => go(`/advertisers/${id}`)} onClose={dialog.close} />
      )}
    </Page>
  );
}
