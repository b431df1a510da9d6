const BOM = 0xfeff;

/**
 * Parses JSON from outside, as UTF-8 bytes or as text. Skips a byte order mark at the beginning, as RFC 8259 §8.1 allows, because some
 * producers write one before every document. Throws what `JSON.parse` throws.
 */
export function parseJson(json: Buffer | string): unknown {
  const text = typeof json === 'string' ? json : json.toString();
  return JSON.parse(text.charCodeAt(0) === BOM ? text.slice(1) : text);
}

/** Serializes a parsed JSON value. Returns `null` if it is nested too deeply: V8 parses any depth, but serializes recursively. */
export function writeJson(value: unknown): string | null {
  try {
    return JSON.stringify(value) ?? null;
  } catch (error) {
    if (error instanceof RangeError) return null;
    throw error;
  }
}

const QUOTE = '"';
const BACKSLASH = '\\';

/** Returns a name that an object of this valid JSON has twice, or `null` if there is none. `JSON.parse` keeps the last of equal names. */
export function findRepeatedName(json: string): string | null {
  /** The names of each open object; `null` for an open array. */
  const open: (Set<string> | null)[] = [];
  let isName = false;
  for (let at = 0; at < json.length; at += 1) {
    const char = json[at];
    if (char === QUOTE) {
      const end = endOfString(json, at);
      const names = open.at(-1);
      if (isName && names) {
        const name = JSON.parse(json.slice(at, end + 1)) as string;
        if (names.has(name)) return name;
        names.add(name);
      }
      isName = false;
      at = end;
    } else if (char === '{' || char === '[') {
      open.push(char === '{' ? new Set() : null);
      isName = char === '{';
    } else if (char === '}' || char === ']') open.pop();
    else if (char === ',') isName = open.at(-1) !== null;
  }
  return null;
}

/** The position of the quote that ends the string which begins at `start`. */
function endOfString(json: string, start: number): number {
  let at = start + 1;
  while (json[at] !== QUOTE) at += json[at] === BACKSLASH ? 2 : 1;
  return at;
}
