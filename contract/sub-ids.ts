/** The query parameters of a click that its event records. */
export const SUB_ID_NAMES = ['sub1', 'sub2', 'sub3', 'sub4', 'sub5'] as const;
export type SubIdName = (typeof SUB_ID_NAMES)[number];

/** Free texts of the publisher about a click, by parameter. */
export type SubIds = { readonly [Name in SubIdName]?: string };

/** Longest value, in Unicode characters. */
export const SUB_ID_MAX = 100;
/** No control characters: PostgreSQL cannot store NUL, and the others break lines of exports. */
const VALUE = /^\P{Cc}{1,100}$/u;

/** Whether a value is a valid `subIds` of a click event. */
export function areSubIds(value: unknown): value is SubIds {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return false;
  return Object.entries(value).every(
    ([name, text]) =>
      SUB_ID_NAMES.includes(name as SubIdName) && typeof text === 'string' && VALUE.test(text),
  );
}
