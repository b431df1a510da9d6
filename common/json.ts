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
