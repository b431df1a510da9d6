import { unescape as unescapePercent } from 'node:querystring';
import { counted } from '../../common/counted.ts';
import { TollwayError } from '../../common/errors.ts';
import { printable } from '../../common/text.ts';

/**
 * Which query parameters of a click an ad passes on to its destination: names such as `gclid`, and beginnings of names such as `utm_*`. Case
 * matters.
 */
export type PassList = readonly string[];

/** Most entries of a list. */
const ENTRIES_MAX = 20;
const ENTRY = /^[\w-]{1,64}\*?$/;
/** Names with other characters are never passed: servers read some of them as another name (PHP reads `a.b` as `a_b` and `a[]` as `a`). */
const NAME = /^[\w-]{1,64}$/;

/** Parses a list such as `utm_*,gclid`; an empty text passes nothing. Throws `bad_pass_list`. */
export function parsePassList(text: string): PassList {
  return text.trim() === '' ? [] : checkPassList(text.split(',').map((entry) => entry.trim()));
}

/** Returns the entries of a list, each once. Throws `bad_pass_list`. */
export function checkPassList(list: readonly string[]): PassList {
  const entries = [...new Set(list)];
  const wrong = entries.find((entry) => !ENTRY.test(entry));
  if (wrong !== undefined) {
    throw new TollwayError(
      'bad_pass_list',
      `Expected names of query parameters such as utm_*,gclid (1–64 letters, digits, - and _, with * only at the end), got "${printable(wrong.slice(0, 100))}"`,
    );
  }
  if (entries.length <= ENTRIES_MAX) return entries;
  throw new TollwayError(
    'bad_pass_list',
    `Expected at most ${counted(ENTRIES_MAX, 'query parameter')} to pass on, got ${entries.length}`,
  );
}

/** Throws `bad_pass_list` if the list names a parameter that the destination has itself. An entry with `*` may match one: it is not passed. */
export function assertPassListFits(list: PassList, urlTemplate: string): void {
  const own = ownNames(urlTemplate);
  const taken = list.find((entry) => own.has(entry.toLowerCase()));
  if (taken === undefined) return;
  throw new TollwayError(
    'bad_pass_list',
    `Expected query parameters that the destination does not have itself, got "${taken}", which is in ${urlTemplate.slice(0, 200)}`,
  );
}

/** Creates a function that tells whether a parameter of a click is passed on: the list allows it and the destination does not have it. */
export function createPassFilter(list: PassList, urlTemplate: string): (name: string) => boolean {
  const names = new Set(list.filter((entry) => !entry.endsWith('*')));
  const beginnings = list.filter((entry) => entry.endsWith('*')).map((entry) => entry.slice(0, -1));
  const own = ownNames(urlTemplate);
  return (name) =>
    NAME.test(name) &&
    (names.has(name) || beginnings.some((beginning) => name.startsWith(beginning))) &&
    !own.has(name.toLowerCase());
}

/**
 * Names that a passed parameter must not have, in lower case: those of the destination, and what servers make of them. Some ignore case;
 * `filter[x]` and `filter.x` are fields of `filter`; PHP reads `a.b` as `a_b`.
 */
function ownNames(urlTemplate: string): Set<string> {
  const query = /^[^?#]*\?([^#]*)/.exec(urlTemplate)?.[1] ?? '';
  return new Set(
    query.split(/[&;]/).flatMap((parameter) => {
      const [raw = ''] = parameter.split('=');
      const name = unescapePercent(raw.replaceAll('+', ' ')).trim().toLowerCase();
      return [name, name.split(/[.[ ]/)[0] ?? '', name.replaceAll(/[. ]/g, '_')];
    }),
  );
}
