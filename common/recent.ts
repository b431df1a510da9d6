/**
 * Remembers what `make` made of the texts that were asked for of late, at most twice `countMax` of them. Two generations:
 * when the young one is full, the old one is forgotten as a whole; who comes back while it is known keeps what was made.
 */
export function rememberRecent<T>(countMax: number, make: (text: string) => T): (text: string) => T {
  let young = new Map<string, T>();
  let old = new Map<string, T>();
  return (text) => {
    const known = young.get(text);
    if (known !== undefined) return known;
    if (young.size >= countMax) {
      old = young;
      young = new Map();
    }
    const made = old.get(text) ?? make(text);
    // A copy: the text may be a slice, which would keep the whole that it was cut from alive.
    young.set(JSON.parse(JSON.stringify(text)), made);
    return made;
  };
}
