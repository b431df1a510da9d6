import { useId, useRef, useState } from 'preact/hooks';
import { get, type QueryValues } from '../api.ts';
import { useResource } from '../resource.ts';
import { Field } from './form.tsx';

/** Something that has a name, such as an advertiser. */
type Named = { readonly id: number; readonly name: string | null };

/** Names that are offered at once. */
const OFFERED_MAX = 20;
/** Names that a message lists. */
const LISTED_MAX = 5;
/** The longest text that the API searches for, and the most advertisers that it then lists. */
export const SEARCH_CHARS_MAX = 200;
export const FOUND_MAX = 500;

export type ChoiceProps<T> = {
  readonly label: string;
  /** Shown while nothing is chosen. */
  readonly placeholder: string;
  readonly chosen: T | null;
  readonly onChoose: (chosen: T | null) => void;
  /** The name of the value in the body of a form. */
  readonly name?: string;
  /** Called with a text that names nothing, and with '' afterwards, so that a form is not sent with it. */
  readonly onUnknown?: (text: string) => void;
};

/** What a picker chooses from. */
export type Choices<T> = {
  /** A list of the API that can be searched by name and limited to ids. */
  readonly path: string;
  readonly query?: QueryValues;
  /** The name with the id, such as `Blue Shoes (4)`. */
  readonly nameOf: (item: T) => string;
  /** What the list of offers says beside the name. */
  readonly about?: (item: T) => string;
  /** The id of a text that is one, for things without a name; `null` if it is none. */
  readonly idOf?: (text: string) => number | null;
  readonly words: {
    readonly unknown: (text: string) => string;
    readonly several: (text: string, names: string) => string;
    readonly unchanged: string;
  };
};

/** The text without the id in parentheses at its end. */
const searchOf = (text: string) => text.replace(/ \((ad )?\d+\)$/, '').slice(0, SEARCH_CHARS_MAX);

type Props<T> = ChoiceProps<T> & { readonly of: Choices<T> };

/** What is typed into a picker, what is offered for it, and what it chooses once it is left. */
function useTyped<T extends Named>({ of, onChoose, onUnknown }: Props<T>) {
  const { nameOf, words } = of;
  const [typed, setTyped] = useState<string | null>(null);
  const [problem, setProblem] = useState<string | undefined>();
  // What is typed by now, for an answer that comes later.
  const latest = useRef<string | null>(null);
  const search = searchOf(typed ?? '');
  const offered = useResource<{ items: readonly T[] }>(of.path, {
    ...{ ...of.query, search, limit: OFFERED_MAX, all: true },
  }).data?.items;
  const show = (text: string | null) => {
    latest.current = text;
    setTyped(text);
    setProblem(undefined);
  };
  const type = (text: string) => {
    show(text);
    onUnknown?.(text.trim());
    if (text === '') onChoose(null);
    const found = offered?.find((item) => nameOf(item) === text);
    if (found) choose(found);
  };
  const choose = (item: T) => {
    onChoose(item);
    onUnknown?.('');
    show(null);
  };
  const settle = async () => {
    const text = latest.current;
    if (text === null) return;
    if (text.trim() === '') return show(null);
    const answer = await find(of, text.trim()).catch((error: Error) => error);
    if (latest.current !== text) return;
    if (answer instanceof Error) return setProblem(answer.message);
    const [first, ...others] = answer;
    if (first && others.length === 0) choose(first);
    else setProblem([problemOf(of, text.trim(), answer), onUnknown ? '' : words.unchanged].join(' '));
  };
  return { typed, problem, offered, search, type, settle };
}

/** Chooses one of a list by a part of its name; an empty text chooses none. A text that names none or several says so. */
export function Picker<T extends Named>(props: Props<T>) {
  const { of, label, placeholder, chosen, name, onUnknown } = props;
  const { typed, problem, offered, search, type, settle } = useTyped(props);
  const list = useId();
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
            value={typed ?? (chosen ? of.nameOf(chosen) : '')}
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
            {offered?.map((item) => (
              <option key={item.id} value={of.nameOf(item)}>
                {of.about?.(item)}
              </option>
            ))}
          </datalist>
        </>
      )}
    </Field>
  );
}

/** What a text names: those of exactly this name, with or without their id; or those whose name has it as a part; or the one with this id. */
async function find<T extends Named>(of: Choices<T>, text: string): Promise<readonly T[]> {
  const { path, query, nameOf, idOf } = of;
  const list = async (limits: QueryValues) =>
    (await get<{ items: readonly T[] }>(path, { ...query, ...limits, limit: FOUND_MAX, all: true })).items;
  const items = await list({ search: searchOf(text) });
  const wanted = text.toLowerCase();
  const named = items.filter((one) => [one.name, nameOf(one)].some((each) => each?.toLowerCase() === wanted));
  if (named.length > 0) return named;
  const parts = items.filter(({ name }) => name?.toLowerCase().includes(wanted));
  const id = parts.length === 0 && idOf ? idOf(text) : null;
  return id === null ? parts : list({ ids: id });
}

function problemOf<T>({ nameOf, words }: Choices<T>, text: string, found: readonly T[]): string {
  if (found.length === 0) return words.unknown(text);
  const names = found.slice(0, LISTED_MAX).map(nameOf).join(', ');
  return words.several(text, found.length > LISTED_MAX ? `${names}, …` : names);
}
