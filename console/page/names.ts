import { useEffect, useState } from 'preact/hooks';
import { get } from './api.ts';

/** Pages of names that are loaded at most. */
const PAGES_MAX = 4;
const PAGE_ROWS = 500;

export type Names = {
  readonly advertiser: (id: number) => string;
  readonly campaign: (id: number) => string;
  /** An ad without a name is shown with its advertiser and campaign. */
  readonly ad: (id: number) => string;
  /** The name of an ad; `null` if it has none, or is not loaded. */
  readonly adName: (id: number) => string | null;
};

type Item = {
  readonly id: number;
  readonly name: string | null;
  readonly advertiserName?: string;
  readonly campaignName?: string;
};
type Page = { readonly items: readonly Item[]; readonly nextCursor: string | null };

/** The names of advertisers, campaigns and ads beside their ids, of one advertiser or of all. Names that are not loaded are shown as ids. */
export function useNames(
  kinds: readonly ('advertisers' | 'campaigns' | 'ads')[],
  advertiserId: number | null,
): Names {
  const [names, setNames] = useState<ReadonlyMap<string, Item>>(new Map());
  const wanted = kinds.join();
  useEffect(() => {
    const leaving = new AbortController();
    for (const kind of wanted.split(',').filter(Boolean)) {
      loadNames(kind, advertiserId, leaving.signal, (items) =>
        setNames(
          (before) => new Map([...before, ...items.map((item) => [`${kind} ${item.id}`, item] as const)]),
        ),
      ).catch(() => {
        // The ids stay.
      });
    }
    return () => leaving.abort();
  }, [wanted, advertiserId]);
  const of = (kind: string) => (id: number) => {
    const item = names.get(`${kind} ${id}`);
    return item === undefined ? String(id) : nameOf(item);
  };
  const adName = (id: number) => names.get(`ads ${id}`)?.name ?? null;
  return { advertiser: of('advertisers'), campaign: of('campaigns'), ad: of('ads'), adName };
}

const nameOf = ({ id, name, advertiserName, campaignName }: Item) =>
  name ?? `${id} (${advertiserName}, ${campaignName})`;

async function loadNames(
  kind: string,
  advertiserId: number | null,
  signal: AbortSignal,
  add: (items: readonly Item[]) => void,
): Promise<void> {
  let cursor: string | null = null;
  const filter = kind === 'advertisers' ? {} : { advertiserId };
  for (let page = 0; page < PAGES_MAX; page++) {
    const loaded: Page = await get<Page>(
      `/v1/${kind}`,
      { all: true, limit: PAGE_ROWS, cursor, ...filter },
      signal,
    );
    add(loaded.items);
    cursor = loaded.nextCursor;
    if (cursor === null) return;
  }
}
