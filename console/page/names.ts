import { useEffect, useRef, useState } from 'preact/hooks';
import { get } from './api.ts';

/** Names that one request asks for. */
const IDS_MAX = 500;

export type Names = {
  readonly advertiser: (id: number) => string;
  readonly campaign: (id: number) => string;
  /** An ad without a name is shown with its advertiser and campaign. */
  readonly ad: (id: number) => string;
  /** The name of an ad; `null` if it has none, or is not loaded. */
  readonly adName: (id: number) => string | null;
};

/** The ids whose names are shown; they can repeat. */
export type NamedIds = {
  readonly advertisers?: readonly number[];
  readonly campaigns?: readonly number[];
  readonly ads?: readonly number[];
};

type Item = {
  readonly id: number;
  readonly name: string | null;
  readonly advertiserName?: string;
  readonly campaignName?: string;
};

const keyOf = (kind: string, id: number) => `${kind} ${id}`;

/** The names of advertisers, campaigns and ads beside their ids. Each is requested once. Names that are not loaded are shown as ids. */
export function useNames(wanted: NamedIds): Names {
  const [names, setNames] = useState<ReadonlyMap<string, Item>>(new Map());
  const requested = useRef(new Set<string>());
  const leaving = useRef(new AbortController());
  useEffect(() => () => leaving.current.abort(), []);
  const missing = Object.entries(wanted).map(([kind, ids]) => {
    const unknown = new Set(ids.filter((id) => !requested.current.has(keyOf(kind, id))));
    return [kind, [...unknown]] as const;
  });
  useEffect(() => {
    for (const [kind, ids] of missing) {
      for (const id of ids) requested.current.add(keyOf(kind, id));
      void loadNames(kind, ids, leaving.current.signal, (items) =>
        setNames(
          (before) => new Map([...before, ...items.map((item) => [keyOf(kind, item.id), item] as const)]),
        ),
      );
    }
  }, [missing.flatMap(([kind, ids]) => (ids.length === 0 ? [] : [kind, ...ids])).join()]);
  const of = (kind: string) => (id: number) => {
    const item = names.get(keyOf(kind, id));
    return item === undefined ? String(id) : nameOf(item);
  };
  const adName = (id: number) => names.get(keyOf('ads', id))?.name ?? null;
  return { advertiser: of('advertisers'), campaign: of('campaigns'), ad: of('ads'), adName };
}

const nameOf = ({ id, name, advertiserName, campaignName }: Item) =>
  name ?? `${id} (${advertiserName}, ${campaignName})`;

async function loadNames(
  kind: string,
  ids: readonly number[],
  signal: AbortSignal,
  add: (items: readonly Item[]) => void,
): Promise<void> {
  for (let start = 0; start < ids.length; start += IDS_MAX) {
    const some = ids.slice(start, start + IDS_MAX);
    const query = { all: true, limit: IDS_MAX, ids: some.join() };
    const page = await get<{ readonly items: readonly Item[] }>(`/v1/${kind}`, query, signal).catch(
      () => null,
    );
    // Without an answer, the ids stay.
    if (page !== null) add(page.items);
  }
}
