import type * as z from 'zod';
import type { AuditEntry } from '../../../api/routes/audit.ts';
import { urlOf } from '../../api.ts';
import { viewerZone } from '../../format.ts';
import { type Names, useNames } from '../../names.ts';
import { usePages } from '../../resource.ts';
import { query } from '../../router.ts';
import { texts } from '../../texts.ts';
import { LinkButton } from '../../ui/button.tsx';
import { Change, namedIn } from '../../ui/history.tsx';
import { Panel } from '../../ui/page.tsx';
import { QueryField } from '../../ui/query-field.tsx';
import { Empty } from '../../ui/state.tsx';
import { type Column, ListTable } from '../../ui/table.tsx';
import { Time } from '../../ui/values.tsx';

const words = texts.operations.audit;

type Entry = z.input<typeof AuditEntry>;

const columnsOf = (names: Names): Column<Entry>[] => [
  {
    label: words.at,
    cell: ({ at }) => (
      <span class="when">
        <Time at={at} />
      </span>
    ),
  },
  { label: words.change, cell: (entry) => <Change entry={entry} zone={viewerZone} names={names} /> },
  {
    label: words.advertiser,
    isMinor: true,
    cell: ({ advertiserId: id }) =>
      id === null ? (
        '–'
      ) : (
        <a class="break" href={`/advertisers/${id}`}>
          {names.advertiser(id)}
        </a>
      ),
  },
];

/** Who changed what, over the whole installation. */
export function AuditTab() {
  const [action, actor] = ['action', 'actor'].map((name) => query.value.get(name) ?? '');
  const filter = { action, actor };
  const entries = usePages<Entry>('/v1/audit', filter);
  const names = useNames(namedIn(entries.items ?? []));
  return (
    <Panel
      title={words.title}
      note={`${words.lead} ${texts.units.zone(viewerZone)}`}
      flush
      actions={
        <LinkButton
          href={urlOf('/v1/exports/audit', { ...filter, format: 'csv' })}
          download="audit.csv"
          isSmall
        >
          {words.csv}
        </LinkButton>
      }
    >
      <div class="filters">
        <QueryField name="action" label={words.action} hint={words.actionHint} />
        <QueryField name="actor" label={words.actor} hint={words.actorHint} />
      </div>
      <ListTable
        isStacked
        label={words.title}
        columns={columnsOf(names)}
        pages={entries}
        keyOf={({ id }) => id}
        empty={<Empty title={words.empty} />}
      />
    </Panel>
  );
}
