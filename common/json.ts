const BOM = 0xfeff;

/**
 * Parses JSON that came from outside, as bytes of UTF-8 or as text. A byte order mark before it is left out, as RFC 8259 §8.1 allows:
 * some producers write one before every document. Throws what `JSON.parse` throws.
 */
export function parseJson(json: Buffer | string): unknown {
  const text = typeof json === 'string' ? json : json.toString();
  return JSON.parse(text.charCodeAt(0) === BOM ? text.slice(1) : text);
}

/** A JSON value from outside as text again; `null` where it is nested too deeply for that: V8 parses any depth, but writes by recursion. */
export function writeJson(value: unknown): string | null {
  try {
    return JSON.stringify(value) ?? null;
  } catch (error) {
    if (error instanceof RangeError) return null;
    throw error;
  }
}
