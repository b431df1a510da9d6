import { texts } from '../texts.ts';

const words = texts.live.books;

/** The result of a reconciliation in a line. Books can balance although accepted clicks are missing; `missing` is `null` if it is not known. */
export function booksTitle(balanced: boolean, missing: number | null, problemCount: number): string {
  if (!balanced) return words.problems(problemCount);
  return missing ? words.balanceButMissing(missing) : words.balance;
}
