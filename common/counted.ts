/** A count with its noun: `1 click`, `2 clicks`. `plural` is for nouns with an irregular plural. */
export function counted(count: number | bigint, noun: string, plural = `${noun}s`): string {
  return `${count} ${Number(count) === 1 ? noun : plural}`;
}
