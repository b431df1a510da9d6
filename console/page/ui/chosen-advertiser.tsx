import { ApiError } from '../api.ts';
import { type Resource, useResource } from '../resource.ts';
import { path, query } from '../router.ts';
import { texts } from '../texts.ts';
import type { AdvertiserChoice } from './advertiser-picker.tsx';
import { LinkButton } from './button.tsx';
import { Empty, Loaded } from './state.tsx';

const words = texts.advertisers.picker;

/** An advertiser by its id; `isUnknown` if the caller sees none of this id. */
export type ChosenAdvertiser = Resource<AdvertiserChoice> & { readonly isUnknown: boolean };

/** The advertiser of an id that an address has, loaded. */
export function useAdvertiser(id: string | null): ChosenAdvertiser {
  const isId = id !== null && /^\d+$/.test(id);
  const resource = useResource<AdvertiserChoice>(isId ? `/v1/advertisers/${id}` : null);
  const { error } = resource;
  // 400: the id is larger than ids can be.
  const isRefused = error instanceof ApiError && (error.status === 404 || error.status === 400);
  return { ...resource, isUnknown: id !== null && (!isId || isRefused) };
}

/** What stands in place of a view whose advertiser is not loaded. */
export function NoAdvertiser({ chosen }: { readonly chosen: ChosenAdvertiser }) {
  if (!chosen.isUnknown) return <Loaded resource={chosen}>{() => null}</Loaded>;
  const others = new URLSearchParams(query.value);
  for (const name of ['advertiser', 'campaign']) others.delete(name);
  return (
    <Empty
      title={words.none}
      actions={<LinkButton href={`${path.value}?${others}`}>{words.without}</LinkButton>}
    >
      {words.noneLead}
    </Empty>
  );
}
