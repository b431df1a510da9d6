import { formatClock } from '../../format.ts';
import { type LatestClick, latest } from '../../live.ts';
import { nameOfReason, texts } from '../../texts.ts';
import { Panel } from '../../ui/page.tsx';
import { Empty } from '../../ui/state.tsx';
import { type Column, Table } from '../../ui/table.tsx';
import { Amount, Outcome } from '../../ui/values.tsx';

const words = texts.live.latest;

/** The clicks that were settled last. */
export function LatestPanel() {
  const clicks = latest.value ?? [];
  return (
    <Panel title={words.title} note={words.note} flush>
      {clicks.length === 0 ? (
        <Empty title={latest.value ? words.empty : texts.controls.loading}>
          {latest.value && words.emptyLead}
        </Empty>
      ) : (
        <Table label={words.title} columns={COLUMNS} rows={clicks} keyOf={({ clickId }) => clickId} />
      )}
    </Panel>
  );
}

const COLUMNS: readonly Column<LatestClick>[] = [
  {
    label: words.at,
    cell: ({ clickId, clickedAt }) => (
      <a class="number" href={`/clicks/${clickId}`}>
        {formatClock(clickedAt)}
      </a>
    ),
  },
  {
    label: words.outcome,
    cell: ({ outcome, reason }) => (
      <span class="row">
        <Outcome outcome={outcome} />
        {reason !== null && reason !== '' && <span class="soft">{nameOfReason(reason)}</span>}
      </span>
    ),
  },
  {
    label: words.ad,
    cell: ({ adId, adName, advertiserName }) =>
      adId === null ? (
        '–'
      ) : (
        <span class="row">
          <a class="break" href={`/ads/${adId}`}>
            {texts.ads.name(adId, adName)}
          </a>
          <span class="soft minor">{advertiserName}</span>
        </span>
      ),
  },
  { label: words.publisher, isMinor: true, cell: ({ publisher }) => publisher ?? '–' },
  {
    label: words.price,
    isNumber: true,
    cell: ({ price, currency }) =>
      price === null || currency === null ? '–' : <Amount value={price} currency={currency} />,
  },
  {
    label: words.click,
    isMinor: true,
    cell: ({ clickId }) => (
      <a class="click-id mono" href={`/clicks/${clickId}`}>
        {clickId}
      </a>
    ),
  },
];
