const BOM = 0xfeff;

/**
 * Parses JSON that came from outside, as bytes of UTF-8 or as text. A byte order mark before it is left out, as RFC 8259 §8.1 allows:
 * some producers write one before every document. Throws what `JSON.parse` throws.
 */
export function parseJson(json: Buffer | string): unknown {
  const text = typeof json === 'string' ? json : json.toString();
  return JSON.parse(text.charCodeAt(0) === BOM ? text.slice(1) : text);
}
