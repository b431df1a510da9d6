import type { Campaign } from '../../entities.ts';
import { usePages } from '../../resource.ts';
import { texts } from '../../texts.ts';
import { Button, LinkButton } from '../../ui/button.tsx';
import { clearFilters, isFiltered, ListFilters, listQuery } from '../../ui/list-filters.tsx';
import { Page, Panel } from '../../ui/page.tsx';
import { Empty } from '../../ui/state.tsx';
import { ListTable } from '../../ui/table.tsx';
import { Sections } from '../sections.tsx';
import { campaignColumns } from './campaign-columns.tsx';

const words = texts.campaigns;

/** The campaigns of all advertisers. */
export function CampaignList() {
  const pages = usePages<Campaign>('/v1/campaigns', listQuery());
  const { title, notFound, lead, openAdvertiser } = words.none;
  const { none, title: advertisers } = texts.advertisers;
  const empty = isFiltered() ? (
    <Empty title={notFound} actions={<Button onClick={clearFilters}>{none.clear}</Button>}>
      {none.notFoundLead}
    </Empty>
  ) : (
    <Empty title={title} actions={<LinkButton href="/advertisers">{advertisers}</LinkButton>}>
      {lead} {openAdvertiser}
    </Empty>
  );
  return (
    <Page title={words.title}>
      <Sections current="campaigns" />
      <Panel flush>
        <ListFilters />
        <ListTable
          isStacked
          label={words.title}
          columns={campaignColumns(true)}
          keyOf={({ id }) => id}
          {...{ pages, empty }}
        />
      </Panel>
    </Page>
  );
}
