import type { Ad } from '../../entities.ts';
import { usePages } from '../../resource.ts';
import { texts } from '../../texts.ts';
import { Button, LinkButton } from '../../ui/button.tsx';
import { clearFilters, isFiltered, ListFilters, listQuery } from '../../ui/list-filters.tsx';
import { Page, Panel } from '../../ui/page.tsx';
import { Empty } from '../../ui/state.tsx';
import { ListTable } from '../../ui/table.tsx';
import { Sections } from '../sections.tsx';
import { adColumns } from './ad-columns.tsx';

const words = texts.ads;

/** The ads of all campaigns. */
export function AdList() {
  const pages = usePages<Ad>('/v1/ads', listQuery());
  const { title, notFound, lead, openCampaign } = words.none;
  const { clear } = texts.advertisers.none;
  const empty = isFiltered() ? (
    <Empty title={notFound} actions={<Button onClick={clearFilters}>{clear}</Button>} />
  ) : (
    <Empty title={title} actions={<LinkButton href="/campaigns">{texts.campaigns.title}</LinkButton>}>
      {lead} {openCampaign}
    </Empty>
  );
  return (
    <Page title={words.title}>
      <Sections current="ads" />
      <Panel flush>
        <ListFilters />
        <ListTable
          isStacked
          label={words.title}
          columns={adColumns(true)}
          keyOf={({ id }) => id}
          {...{ pages, empty }}
        />
      </Panel>
    </Page>
  );
}
