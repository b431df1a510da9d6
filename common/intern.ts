/**
 * Creates a function that returns the same string for equal texts. Equal texts of many objects then take the memory of one, and are compared
 * by their address. It remembers at most `countMax` texts, then starts again.
 */
export function createInterner(countMax: number): (text: string) => string {
  const texts = new Map<string, string>();
  return (text) => {
    const known = texts.get(text);
    if (known !== undefined) return known;
    if (texts.size >= countMax) texts.clear();
    texts.set(text, text);
    return text;
  };
}
