const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const COMMA = 0x2c;
const OPENING = new Set([0x5b, 0x7b]); // [ {
const CLOSING = new Set([0x5d, 0x7d]); // ] }
const SPACES = new Set([0x20, 0x09, 0x0a, 0x0d]);

/**
 * Splits the text of a JSON array into the bytes of its elements, so that each can be parsed, rejected and stored by itself: an element
 * that is damaged, deeply nested or very large does not affect the others. Does not parse the elements, so they need not be JSON. Text
 * after the array, or of an array without an end, becomes an element too. Stops after `countMax + 1` elements. Returns `null` for a text
 * that does not begin with `[`. Takes time linear in the length of any text.
 */
export function jsonElements(text: Buffer, countMax: number): Buffer[] | null {
  const begin = skipSpace(text, 0);
  if (text[begin] !== 0x5b) return null;
  const elements: Buffer[] = [];
  let start = begin + 1;
  let depth = 0;
  for (let at = start; at < text.length && elements.length <= countMax; at += 1) {
    const byte = text[at] as number;
    if (byte === QUOTE) at = endOfString(text, at);
    else if (OPENING.has(byte)) depth += 1;
    else if (byte === COMMA && depth === 0) {
      elements.push(trimmed(text, start, at));
      start = at + 1;
    } else if (CLOSING.has(byte)) {
      depth -= 1;
      if (depth >= 0) continue;
      // The end of the array. An empty array has no element.
      const last = trimmed(text, start, at);
      if (last.length > 0 || elements.length > 0) elements.push(last);
      start = at + 1;
      break;
    }
  }
  const rest = trimmed(text, start, text.length);
  if (rest.length > 0 && elements.length <= countMax) elements.push(rest);
  return elements;
}

/** The index of the quote that ends the string which begins at `at`, or the length of the text. */
function endOfString(text: Buffer, at: number): number {
  for (let next = at + 1; next < text.length; next += 1) {
    if (text[next] === BACKSLASH) next += 1;
    else if (text[next] === QUOTE) return next;
  }
  return text.length;
}

function skipSpace(text: Buffer, at: number): number {
  let next = at;
  while (next < text.length && SPACES.has(text[next] as number)) next += 1;
  return next;
}

function trimmed(text: Buffer, from: number, to: number): Buffer {
  const start = skipSpace(text, from);
  let end = to;
  while (end > start && SPACES.has(text[end - 1] as number)) end -= 1;
  return text.subarray(start, Math.max(start, end));
}
