import { useState } from 'preact/hooks';
import { get, type QueryValues } from '../../api.ts';
import type { Advertiser, ListedClick } from '../../entities.ts';
import { formatCount } from '../../format.ts';
import { texts } from '../../texts.ts';
import { Button } from '../../ui/button.tsx';
import { ErrorBox } from '../../ui/state.tsx';
import { CreditClicks } from '../credits/credit-clicks.tsx';
import { CLICKS_MAX, type ClickList } from '../credits/read-click-list.ts';

const words = texts.clicks.list;

/** Clicks of one request. */
const PAGE_CLICKS = 500;

type Props = {
  readonly wanted: QueryValues;
  readonly advertiser: Advertiser | null;
  readonly onDone: () => void;
};

/** Credits all clicks that match the filters, not only those that are shown: collects their ids, then opens the dialog of credits. */
export function CreditListed({ wanted, advertiser, onDone }: Props) {
  const [list, setList] = useState<ClickList | null>(null);
  const [found, setFound] = useState<number | null>(null);
  const [error, setError] = useState<Error | null>(null);
  if (advertiser === null) return <p class="table-foot">{words.chooseAdvertiser}</p>;
  const collect = async () => {
    setError(null);
    try {
      setList(await chargesOf(wanted, setFound));
    } catch (problem) {
      setError(problem as Error);
    }
    setFound(null);
  };
  return (
    <>
      {error && <ErrorBox error={error} retry={collect} />}
      <div class="table-foot">
        <Button isSmall disabled={found !== null} onClick={collect}>
          {found === null ? words.credit : words.collecting(formatCount(found))}
        </Button>
        <span>{words.creditAbout}</span>
      </div>
      {list !== null && (
        <CreditClicks advertiser={advertiser} given={list} onDone={onDone} onClose={() => setList(null)} />
      )}
    </>
  );
}

/** The charged clicks that no credit has given back. */
async function chargesOf(wanted: QueryValues, onFound: (count: number) => void): Promise<ClickList> {
  const clickIds: string[] = [];
  let cursor: string | null = null;
  do {
    const query: QueryValues = {
      ...wanted,
      outcome: wanted.outcome || 'charged',
      limit: PAGE_CLICKS,
      cursor,
    };
    const page: { items: readonly ListedClick[]; nextCursor: string | null } = await get('/v1/clicks', query);
    for (const { clickId, outcome, credited } of page.items)
      if (outcome === 'charged' && Number(credited) === 0) clickIds.push(clickId);
    if (clickIds.length > CLICKS_MAX) throw new Error(words.tooMany(formatCount(CLICKS_MAX)));
    onFound(clickIds.length);
    cursor = page.nextCursor;
  } while (cursor !== null);
  if (clickIds.length === 0) throw new Error(words.noCharges);
  return { clickIds, passedOver: 0, repeated: 0 };
}
