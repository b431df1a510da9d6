import { useId, useState } from 'preact/hooks';
import type * as z from 'zod';
import type { Advertiser } from '../../api/routes/advertisers.ts';
import { useResource } from '../resource.ts';
import { Field } from './form.tsx';

export type AdvertiserChoice = z.input<typeof Advertiser>;

/** Names that are offered at once. */
const OFFERED_MAX = 20;

type Props = {
  readonly label: string;
  /** Shown while no advertiser is chosen. */
  readonly placeholder: string;
  readonly chosen: AdvertiserChoice | null;
  readonly onChoose: (advertiser: AdvertiserChoice | null) => void;
  /** The name of the value in the body of a form. */
  readonly name?: string;
  /** Called with a text that names no advertiser, and with '' afterwards. Without it, such a text is dropped. */
  readonly onUnknown?: (text: string) => void;
};

const nameOf = ({ id, name }: AdvertiserChoice) => `${name} (${id})`;

/** Chooses an advertiser by a part of its name; an empty text chooses none. */
export function AdvertiserPicker({ label, placeholder, chosen, onChoose, name, onUnknown }: Props) {
  const [typed, setTyped] = useState<string | null>(null);
  const search = (typed ?? '').replace(/ \(\d+\)$/, '');
  const offered = useResource<{ items: readonly AdvertiserChoice[] }>('/v1/advertisers', {
    ...{ search, limit: OFFERED_MAX, all: true },
  }).data?.items;
  const list = useId();
  const type = (text: string) => {
    setTyped(text);
    onUnknown?.(text.trim());
    if (text === '') onChoose(null);
    const found = offered?.find((advertiser) => nameOf(advertiser) === text);
    if (found) choose(found);
  };
  const choose = (advertiser: AdvertiserChoice) => {
    onChoose(advertiser);
    onUnknown?.('');
    setTyped(null);
  };
  // A part of a name that only one advertiser has is enough, also without its id.
  const settle = () => {
    const part = search.trim().toLowerCase();
    const found = part === '' ? [] : (offered ?? []).filter(({ name }) => name.toLowerCase().includes(part));
    if (found.length === 1 && found[0]) choose(found[0]);
    else if (onUnknown === undefined || part === '') setTyped(null);
  };
  return (
    <Field label={label} {...(name !== undefined && { name })}>
      {(control) => (
        <>
          <input
            {...control}
            type="search"
            list={list}
            autoComplete="off"
            placeholder={placeholder}
            value={typed ?? (chosen ? nameOf(chosen) : '')}
            onInput={(event) => type(event.currentTarget.value)}
            onKeyDown={(event) => {
              if (event.key !== 'Enter') return;
              // In a form, the first Enter chooses, and the next one sends.
              if (onUnknown !== undefined && search !== '') event.preventDefault();
              settle();
            }}
            onBlur={settle}
          />
          <datalist id={list}>
            {offered?.map((advertiser) => (
              <option key={advertiser.id} value={nameOf(advertiser)} />
            ))}
          </datalist>
        </>
      )}
    </Field>
  );
}

/** The advertiser that the query of the page names, loaded. */
export function useAdvertiser(id: string | null): AdvertiserChoice | null {
  return useResource<AdvertiserChoice>(id && /^\d+$/.test(id) ? `/v1/advertisers/${id}` : null).data;
}
