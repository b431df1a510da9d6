import type { Campaign } from '../../entities.ts';
import type { Pages } from '../../resource.ts';
import { can } from '../../session.ts';
import { texts } from '../../texts.ts';
import { Button } from '../../ui/button.tsx';
import { Panel } from '../../ui/page.tsx';
import { Empty } from '../../ui/state.tsx';
import { ListTable } from '../../ui/table.tsx';
import { campaignColumns } from './campaign-columns.tsx';

const words = texts.campaigns;

type Props = {
  readonly pages: Pages<Campaign>;
  readonly zone: string;
  readonly isWithArchived: boolean;
  readonly setWithArchived: (isWithArchived: boolean) => void;
  /** `null`: the caller may not, or the advertiser is archived. */
  readonly onCreate: (() => void) | null;
};

/** The campaigns of an advertiser. */
export function CampaignPanel({ pages, zone, isWithArchived, setWithArchived, onCreate }: Props) {
  const create = onCreate && <Button onClick={onCreate}>{words.create.action}</Button>;
  const empty = (
    <Empty title={words.none.title} {...(create && { actions: create })}>
      {can('campaigns.write') ? words.none.lead : words.none.leadReader}
    </Empty>
  );
  return (
    <Panel
      title={words.title}
      note={texts.units.zone(zone)}
      flush
      actions={
        <>
          <Button look="plain" isSmall onClick={() => setWithArchived(!isWithArchived)}>
            {isWithArchived ? words.archived.hide : words.archived.show}
          </Button>
          {onCreate && pages.items?.length !== 0 && (
            <Button isSmall onClick={onCreate}>
              {words.create.action}
            </Button>
          )}
        </>
      }
    >
      <ListTable
        isStacked
        label={words.title}
        columns={campaignColumns(false)}
        keyOf={({ id }) => id}
        {...{ pages, empty }}
      />
    </Panel>
  );
}
