import { useId, useRef, useState } from 'preact/hooks';
import type * as z from 'zod';
import type { Advertiser } from '../../api/routes/advertisers.ts';
import { get } from '../api.ts';
import { useResource } from '../resource.ts';
import { texts } from '../texts.ts';
import { Field } from './form.tsx';

export type AdvertiserChoice = z.input<typeof Advertiser>;

const words = texts.advertisers.picker;

/** Names that are offered at once. */
const OFFERED_MAX = 20;
/** Names that a message lists. */
const LISTED_MAX = 5;
/** The longest text that the API searches for, and the most advertisers that it then lists. */
export const SEARCH_CHARS_MAX = 200;
export const FOUND_MAX = 500;

type Props = {
  readonly label: string;
  /** Shown while no advertiser is chosen. */
  readonly placeholder: string;
  readonly chosen: AdvertiserChoice | null;
  readonly onChoose: (advertiser: AdvertiserChoice | null) => void;
  /** The name of the value in the body of a form. */
  readonly name?: string;
  /** Called with a text that names no advertiser, and with '' afterwards, so that a form is not sent with it. */
  readonly onUnknown?: (text: string) => void;
};

const nameOf = ({ id, name }: AdvertiserChoice) => `${name} (${id})`;
const searchOf = (text: string) => text.replace(/ \(\d+\)$/, '').slice(0, SEARCH_CHARS_MAX);

/** Chooses an advertiser by a part of its name; an empty text chooses none. A text that names none or several says so. */
export function AdvertiserPicker({ label, placeholder, chosen, onChoose, name, onUnknown }: Props) {
  const [typed, setTyped] = useState<string | null>(null);
  const [problem, setProblem] = useState<string | undefined>();
  // What is typed by now, for an answer that comes later.
  const latest = useRef<string | null>(null);
  const search = searchOf(typed ?? '');
  const offered = useResource<{ items: readonly AdvertiserChoice[] }>('/v1/advertisers', {
    ...{ search, limit: OFFERED_MAX, all: true },
  }).data?.items;
  const list = useId();
  const show = (text: string | null) => {
    latest.current = text;
    setTyped(text);
    setProblem(undefined);
  };
  const type = (text: string) => {
    show(text);
    onUnknown?.(text.trim());
    if (text === '') onChoose(null);
    const found = offered?.find((advertiser) => nameOf(advertiser) === text);
    if (found) choose(found);
  };
  const choose = (advertiser: AdvertiserChoice) => {
    onChoose(advertiser);
    onUnknown?.('');
    show(null);
  };
  const settle = async () => {
    const text = latest.current;
    if (text === null) return;
    if (text.trim() === '') return show(null);
    const answer = await findAdvertisers(text.trim()).catch((error: Error) => error);
    if (latest.current !== text) return;
    if (answer instanceof Error) return setProblem(answer.message);
    const [first, ...others] = answer;
    if (first && others.length === 0) choose(first);
    else setProblem([problemOf(text.trim(), answer), onUnknown ? '' : words.unchanged].join(' '));
  };
  return (
    <Field label={label} wrong={problem} {...(name !== undefined && { name })}>
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
              void settle();
            }}
            onBlur={() => void settle()}
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

/** The advertisers that a text names: those of exactly this name, with or without their id, or else those whose name has it as a part. */
async function findAdvertisers(text: string): Promise<readonly AdvertiserChoice[]> {
  const { items } = await get<{ items: readonly AdvertiserChoice[] }>('/v1/advertisers', {
    ...{ search: searchOf(text), limit: FOUND_MAX, all: true },
  });
  const wanted = text.toLowerCase();
  const named = items.filter((one) => [one.name, nameOf(one)].some((each) => each.toLowerCase() === wanted));
  return named.length > 0 ? named : items.filter(({ name }) => name.toLowerCase().includes(wanted));
}

function problemOf(text: string, found: readonly AdvertiserChoice[]): string {
  if (found.length === 0) return words.unknown(text);
  const names = found.slice(0, LISTED_MAX).map(nameOf).join(', ');
  return words.several(text, found.length > LISTED_MAX ? `${names}, …` : names);
}
