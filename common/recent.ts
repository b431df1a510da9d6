/**
 * Caches the results of `make` for recently used texts, at most `2 * countMax` of them. Two generations: when the young one is full, the
 * old one is dropped as a whole. A text that is used again while it is in the old generation moves to the young one with its result.
 */
export function rememberRecent<T>(countMax: number, make: (text: string) => T): (text: string) => T {
  let young = new Map<string, T>();
  let old = new Map<string, T>();
  return (text) => {
    const cached = young.get(text);
    if (cached !== undefined) return cached;
    if (young.size >= countMax) {
      old = young;
      young = new Map();
    }
    const result = old.get(text) ?? make(text);
    // A copy as the key: a slice would keep the whole string that it was cut from in memory.
    young.set(JSON.parse(JSON.stringify(text)), result);
    return result;
  };
}
