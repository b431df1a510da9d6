import { parse } from 'node:querystring';
import { SUB_ID_MAX, SUB_ID_NAMES, type SubIds } from '../../contract/sub-ids.ts';

/** The query parameters of a click, decoded, in their order. Of a repeated parameter, the first value. */
export type ClickQuery = ReadonlyMap<string, string>;

/** Most parameters of a click that are read. The rest is ignored, so that a long query costs little. */
const READ_MAX = 100;
/** Most parameters that are passed on. */
const PASSED_MAX = 20;
/** Longest value that is passed on, in characters. */
const VALUE_MAX = 500;
/** Most characters that are added to a URL. */
const ADDED_MAX = 2_000;

/** Reads the query of a request's path and query; `null` without one. */
export function readClickQuery(target: string): ClickQuery | null {
  const at = target.indexOf('?');
  if (at < 0 || at === target.length - 1) return null;
  const parameters = parse(target.slice(at + 1), '&', '=', { maxKeys: READ_MAX });
  const query = new Map<string, string>();
  for (const [name, value] of Object.entries(parameters)) {
    const first = Array.isArray(value) ? value[0] : value;
    // The query of a function's event can have lone surrogates, which cannot be encoded.
    if (first !== undefined) query.set(name, first.toWellFormed());
  }
  return query;
}

/**
 * The parameters `sub1` to `sub5` of a query, without control characters and cut to SUB_ID_MAX characters; `null` if there are none. The
 * contract of click events allows exactly these.
 */
export function subIdsOf(query: ClickQuery | null): SubIds | null {
  if (query === null) return null;
  const found = SUB_ID_NAMES.flatMap((name) => {
    const value = query.get(name)?.replaceAll(/\p{Cc}/gu, '');
    return value ? [[name, [...value].slice(0, SUB_ID_MAX).join('')]] : [];
  });
  return found.length === 0 ? null : Object.fromEntries(found);
}

/**
 * Adds parameters of a click to a URL, behind its own parameters and before its fragment. Scheme, host, path, own parameters and fragment of
 * the URL do not change. A parameter that exceeds a limit is left out.
 */
export function addParameters(url: string, query: ClickQuery, passes: (name: string) => boolean): string {
  const added = encodeParameters(query, passes);
  if (added === '') return url;
  const hashAt = url.indexOf('#');
  const end = hashAt < 0 ? url.length : hashAt;
  const base = url.slice(0, end);
  const separator = !base.includes('?') ? '?' : /[?&]$/.test(base) ? '' : '&';
  return base + separator + added + url.slice(end);
}

function encodeParameters(query: ClickQuery, passes: (name: string) => boolean): string {
  const parameters: string[] = [];
  let characters = 0;
  for (const [name, value] of query) {
    if (parameters.length === PASSED_MAX) break;
    if (value.length > VALUE_MAX || !passes(name)) continue;
    const parameter = `${name}=${encodeValue(value)}`;
    if (characters + 1 + parameter.length > ADDED_MAX) continue;
    characters += 1 + parameter.length;
    parameters.push(parameter);
  }
  return parameters.join('&');
}

/** Encodes everything but letters, digits, `-`, `_`, `.` and `~` (RFC 3986 §2.3). */
function encodeValue(value: string): string {
  return encodeURIComponent(value).replaceAll(
    /[!'()*]/g,
    (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`,
  );
}
