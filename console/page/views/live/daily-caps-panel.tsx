import { stopOf } from '../../daily-cap.ts';
import type { Campaign } from '../../entities.ts';
import { formatTime } from '../../format.ts';
import { usePages } from '../../resource.ts';
import { texts } from '../../texts.ts';
import { Panel } from '../../ui/page.tsx';
import { type Column, ListTable } from '../../ui/table.tsx';
import { Amount } from '../../ui/values.tsx';

const words = texts.live.dailyCaps;

/** Time between two reads, in ms. */
const RELOAD_MS = 15_000;

/** The active campaigns whose daily cap is reached; nothing if there are none. */
export function DailyCapsPanel() {
  const pages = usePages<Campaign>(
    '/v1/campaigns',
    { dailyCapReached: true, status: 'active', limit: 20 },
    RELOAD_MS,
  );
  if (pages.items === null || pages.items.length === 0) return null;
  return (
    <Panel title={words.title} note={words.note} flush>
      <ListTable
        isStacked
        label={words.title}
        columns={COLUMNS}
        keyOf={({ id }) => id}
        pages={pages}
        empty={null}
      />
    </Panel>
  );
}

const COLUMNS: readonly Column<Campaign>[] = [
  {
    label: words.campaign,
    cell: ({ id, name, advertiserName }) => (
      <>
        <a class="break" href={`/campaigns/${id}`}>
          {name}
        </a>
        <span class="sub break">{advertiserName}</span>
      </>
    ),
  },
  {
    label: words.cap,
    isNumber: true,
    cell: ({ dailyCap, currency }) => dailyCap && <Amount value={dailyCap} currency={currency} />,
  },
  { label: words.goesOn, isNumber: true, cell: (campaign) => <GoesOn campaign={campaign} /> },
];

function GoesOn({ campaign }: { readonly campaign: Campaign }) {
  const { dailyCapReachedUntil: until, timeZone } = campaign;
  if (until === null) return null;
  const stop = stopOf(campaign, until);
  if (stop !== null) return <>{words.stops[stop]}</>;
  return (
    <>
      {formatTime(until, timeZone)}
      <span class="sub">{timeZone}</span>
    </>
  );
}
