import { formatClock, formatCount } from '../../format.ts';
import { type Top, top } from '../../live.ts';
import { texts } from '../../texts.ts';
import { Panel } from '../../ui/page.tsx';
import { Empty } from '../../ui/state.tsx';
import { Table } from '../../ui/table.tsx';
import { Amount } from '../../ui/values.tsx';

const words = texts.live.top;
type TopAd = Top['ads'][number];
type TopPublisher = Top['publishers'][number];

const counts = [
  { label: words.clicks, isNumber: true, cell: ({ clicks }: TopAd | TopPublisher) => formatCount(clicks) },
  {
    label: words.charged,
    isNumber: true,
    cell: ({ charged, currency }: TopAd | TopPublisher) => <Amount value={charged} currency={currency} />,
  },
];

const note = () => top.value && texts.live.reasons.since(formatClock(top.value.since));

/** The ads with the most clicks. */
export function TopAdsPanel() {
  const ads = top.value?.ads ?? [];
  const ad = {
    label: words.ad,
    cell: ({ adId, adName, advertiserName, campaignName }: TopAd) => (
      <>
        <a class="break" href={`/ads/${adId}`}>
          {texts.ads.name(adId, adName)}
        </a>
        <span class="sub break">
          {advertiserName}, {campaignName}
        </span>
      </>
    ),
  };
  return (
    <Panel title={words.ads} note={note()} span={6} flush>
      {ads.length === 0 ? (
        <Empty title={words.empty} />
      ) : (
        <Table label={words.ads} columns={[ad, ...counts]} rows={ads} keyOf={({ adId }) => adId} />
      )}
    </Panel>
  );
}

/** The publishers with the most clicks; amounts of different currencies are not added. */
export function TopPublishersPanel() {
  const publishers = top.value?.publishers ?? [];
  const publisher = {
    label: words.publisher,
    cell: (row: TopPublisher) => (row.publisher ? row.publisher : <span class="soft">{words.none}</span>),
  };
  return (
    <Panel title={words.publishers} note={note()} span={6} flush>
      {publishers.length === 0 ? (
        <Empty title={words.empty} />
      ) : (
        <Table
          label={words.publishers}
          columns={[publisher, ...counts]}
          rows={publishers}
          keyOf={({ publisher: name, currency }) => `${name ?? ''} ${currency}`}
        />
      )}
    </Panel>
  );
}
