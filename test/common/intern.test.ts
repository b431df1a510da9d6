import { expect, it } from 'vitest';
import { createInterner } from '../../common/intern.ts';

it('returns equal texts, before and after it has started again', () => {
  const intern = createInterner(2);
  for (const text of ['a', 'b', 'a', 'c', 'a', 'b', '']) expect(intern(text)).toBe(text);
});
