import { useEffect, useState } from 'preact/hooks';
import type { ListedClick } from '../../entities.ts';
import { viewerZone } from '../../format.ts';
import { usePages, useResource } from '../../resource.ts';
import { query, setQuery } from '../../router.ts';
import { can } from '../../session.ts';
import { nameOfReason, texts } from '../../texts.ts';
import { type AdChoice, AdPicker } from '../../ui/ad-picker.tsx';
import { AdvertiserPicker } from '../../ui/advertiser-picker.tsx';
import { Button } from '../../ui/button.tsx';
import { NoAdvertiser, useAdvertiser } from '../../ui/chosen-advertiser.tsx';
import { clock } from '../../ui/clock.ts';
import { SelectField } from '../../ui/form.tsx';
import { Panel } from '../../ui/page.tsx';
import { QueryField } from '../../ui/query-field.tsx';
import { Empty } from '../../ui/state.tsx';
import { type Column, ListTable } from '../../ui/table.tsx';
import { Amount, Outcome, Time } from '../../ui/values.tsx';
import { wallTimeOf } from '../../zone-time.ts';
import { type ClickFilter, clickQueryOf } from './click-filter.ts';
import { CreditListed } from './credit-listed.tsx';

const words = texts.clicks.list;
/** Clicks that are looked for before the button for more is shown: a page of the API can have none. */
const ITEMS_MIN = 25;
/** Pages that one search reads: a million clicks of the ledger. */
const SEARCH_PAGES = 20;

/** The clicks of a day, by advertiser, publisher, ad, time and outcome. */
export function ClickList() {
  const filterValue = (name: string) => query.value.get(name) ?? '';
  const chosen = useAdvertiser(filterValue('advertiser') || null);
  const advertiser = chosen.data;
  const zone = advertiser?.timeZone ?? viewerZone;
  const filter: ClickFilter = {
    ...{
      advertiserId: filterValue('advertiser'),
      publisher: filterValue('publisher'),
      adId: filterValue('ad'),
    },
    ...{ outcome: filterValue('outcome'), from: filterValue('from'), to: filterValue('to') },
    day: filterValue('day') || wallTimeOf(new Date(clock.peek()).toISOString(), zone).day,
  };
  const wanted = clickQueryOf(filter, zone);
  const isReady = filter.advertiserId === '' || advertiser !== null;
  return (
    <Panel title={words.title} note={`${words.note} ${texts.units.zone(zone)}`} flush>
      <div class="filters">
        <AdvertiserPicker
          label={words.advertiser}
          placeholder={words.everyone}
          chosen={advertiser}
          onChoose={(one) => setQuery({ advertiser: one ? String(one.id) : undefined, ad: undefined })}
        />
        <Filters filter={filter} />
      </div>
      {!isReady && <NoAdvertiser chosen={chosen} />}
      {isReady && wanted === null && <Empty title={words.incomplete} />}
      {isReady && wanted !== null && <Found key={JSON.stringify(wanted)} {...{ wanted, zone, advertiser }} />}
    </Panel>
  );
}

function Filters({ filter: { advertiserId, adId, day, outcome } }: { readonly filter: ClickFilter }) {
  const ad = useAd(adId);
  const outcomes = ['charged', 'over_budget', 'invalid'].map((value) => ({
    value,
    label: texts.outcomes[value] ?? value,
  }));
  return (
    <>
      <AdPicker
        label={words.ad}
        placeholder={words.everyAd}
        advertiserId={advertiserId}
        chosen={ad}
        onChoose={(one) => setQuery({ ad: one ? String(one.id) : undefined })}
      />
      <QueryField name="publisher" label={words.publisher} />
      <QueryField name="day" label={words.day} type="date" otherwise={day} />
      <QueryField name="from" label={words.from} type="time" />
      <QueryField name="to" label={words.to} type="time" />
      <SelectField
        label={words.outcome}
        value={outcome}
        options={[{ value: '', label: words.everyOutcome }, ...outcomes]}
        onChange={(value) => setQuery({ outcome: value || undefined })}
      />
    </>
  );
}

/** The ad of the address: its id alone while it is not loaded, and if the caller sees no such ad. */
function useAd(adId: string): AdChoice | null {
  const isId = /^\d+$/.test(adId);
  const { data } = useResource<AdChoice>(isId ? `/v1/ads/${adId}` : null);
  return data ?? (isId ? { id: Number(adId), name: null } : null);
}

type FoundProps = {
  readonly wanted: NonNullable<ReturnType<typeof clickQueryOf>>;
  readonly zone: string;
  readonly advertiser: ReturnType<typeof useAdvertiser>['data'];
};

function Found({ wanted, zone, advertiser }: FoundProps) {
  const pages = usePages<ListedClick>('/v1/clicks', wanted);
  const { items, more, error, loaded } = pages;
  const [pagesMax, setPagesMax] = useState(SEARCH_PAGES);
  const isIncomplete = items !== null && items.length < ITEMS_MIN && more !== null && error === null;
  const isSearching = isIncomplete && loaded < pagesMax;
  const searchOn = (
    <Button isSmall onClick={() => setPagesMax(loaded + SEARCH_PAGES)}>
      {words.searchOn}
    </Button>
  );
  const emptyTitle = isSearching ? words.searching : isIncomplete ? words.emptySoFar : words.empty;
  // A page without clicks changes nothing that is shown, so each drawing looks whether there are more.
  useEffect(() => {
    if (isSearching) more();
  });
  return (
    <>
      <ListTable
        isStacked
        label={words.title}
        columns={columnsOf(zone)}
        pages={pages}
        keyOf={({ clickId }) => clickId}
        empty={<Empty title={emptyTitle} {...(isIncomplete && !isSearching && { actions: searchOn })} />}
      />
      {can('clicks.credit') && items !== null && items.length > 0 && (
        <CreditListed {...{ wanted, advertiser }} onDone={pages.reload} />
      )}
    </>
  );
}

const columnsOf = (zone: string): readonly Column<ListedClick>[] => [
  { label: words.at, cell: ({ clickedAt }) => <Time at={clickedAt} zone={zone} /> },
  {
    label: words.click,
    cell: ({ clickId }) => (
      <a class="mono break" href={`/clicks/${clickId}`}>
        {clickId}
      </a>
    ),
  },
  {
    label: words.outcome,
    cell: ({ outcome, reason }) => (
      <>
        <Outcome outcome={outcome} />
        {reason !== null && <span class="sub">{nameOfReason(reason)}</span>}
      </>
    ),
  },
  {
    label: words.adColumn,
    cell: ({ adId, adName, advertiserName, campaignName }) => (
      <>
        <a class="break" href={`/ads/${adId}`}>
          {texts.ads.name(adId, adName)}
        </a>
        <span class="sub break">
          {advertiserName}, {campaignName}
        </span>
      </>
    ),
  },
  {
    label: words.publisher,
    cell: ({ publisher }) => publisher ?? <span class="soft">{words.noPublisher}</span>,
  },
  {
    label: words.charged,
    isNumber: true,
    cell: ({ charged, credited, currency }) => (
      <>
        <Amount value={charged} currency={currency} />
        {Number(credited) > 0 && <span class="sub">{words.credited}</span>}
      </>
    ),
  },
];
