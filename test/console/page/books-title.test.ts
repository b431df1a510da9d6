import { expect, it } from 'vitest';
import { booksTitle } from '../../../console/page/views/books-title.ts';

it.each([
  [true, 0, 0, 'The books balance'],
  [true, null, 0, 'The books balance'],
  [true, 1, 0, 'The books balance, but 1 accepted click is missing'],
  [true, 23, 0, 'The books balance, but 23 accepted clicks are missing'],
  [false, 0, 1, 'The books do not balance: 1 problem'],
  [false, 3, 45, 'The books do not balance: 45 problems'],
])('says whether the books balance: %s, %s missing, %s problems', (balanced, missing, problems, words) => {
  expect(booksTitle(balanced, missing, problems)).toBe(words);
});
