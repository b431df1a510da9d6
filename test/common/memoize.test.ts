import { describe, expect, it } from 'vitest';
import { memoize } from '../../common/memoize.ts';

describe('a memoized function', () => {
  it('computes a result once while its text is used often', () => {
    const computed: string[] = [];
    const lengthOf = memoize(2, (text) => computed.push(text));
    for (const text of ['a', 'b', 'a', 'c', 'a', 'b', 'a', 'd', 'a']) lengthOf(text);
    expect(computed.filter((text) => text === 'a')).toHaveLength(1);
  });

  it('drops results that were not used recently', () => {
    const computed: string[] = [];
    const lengthOf = memoize(2, (text) => computed.push(text));
    for (const text of ['a', 'b', 'c', 'd', 'e', 'a']) lengthOf(text);
    expect(computed).toEqual(['a', 'b', 'c', 'd', 'e', 'a']);
  });

  it('distinguishes texts with the same UTF-8 bytes', () => {
    const quote = memoize(10, (text) => JSON.stringify(text));
    expect([quote('a\ud800'), quote('a\ufffd'), quote('a\ud800')]).toEqual([
      '"a\\ud800"',
      '"a\ufffd"',
      '"a\\ud800"',
    ]);
  });
});
