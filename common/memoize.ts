import QuickLRU from 'quick-lru';

/** Caches the results of `compute` for recently used texts, at most `2 * countMax` of them. `compute` must not return `undefined`. */
export function memoize<T>(countMax: number, compute: (text: string) => T): (text: string) => T {
  const results = new QuickLRU<string, T>({ maxSize: countMax });
  return (text) => {
    const cached = results.get(text);
    if (cached !== undefined) return cached;
    const result = compute(text);
    // A copy as the key: a slice would keep the whole string that it was cut from in memory.
    results.set(JSON.parse(JSON.stringify(text)), result);
    return result;
  };
}
