import type { Ad } from '../../entities.ts';
import type { Pages } from '../../resource.ts';
import { can } from '../../session.ts';
import { texts } from '../../texts.ts';
import { Button } from '../../ui/button.tsx';
import { Panel } from '../../ui/page.tsx';
import { Empty } from '../../ui/state.tsx';
import { ListTable } from '../../ui/table.tsx';
import { adColumns } from './ad-columns.tsx';

const words = texts.ads;

type Props = {
  readonly pages: Pages<Ad>;
  /** `null`: the campaign is archived, and its ads are all listed. */
  readonly isWithArchived: boolean | null;
  readonly setWithArchived: (isWithArchived: boolean) => void;
  /** `null`: the caller may not, or the campaign is archived. */
  readonly onCreate: (() => void) | null;
};

/** The ads of a campaign. */
export function AdPanel({ pages, isWithArchived, setWithArchived, onCreate }: Props) {
  const { archived } = texts.campaigns;
  const create = onCreate && (
    <Button look="primary" onClick={onCreate}>
      {words.create.action}
    </Button>
  );
  const empty = (
    <Empty title={words.none.title} {...(create && { actions: create })}>
      {can('ads.write') ? words.none.lead : words.none.leadReader}
    </Empty>
  );
  return (
    <Panel
      title={words.title}
      flush
      actions={
        isWithArchived !== null && (
          <Button look="plain" isSmall onClick={() => setWithArchived(!isWithArchived)}>
            {isWithArchived ? archived.hide : archived.show}
          </Button>
        )
      }
    >
      <ListTable
        isStacked
        label={words.title}
        columns={adColumns(false)}
        keyOf={({ id }) => id}
        {...{ pages, empty }}
      />
    </Panel>
  );
}
