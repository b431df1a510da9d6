import { describe, expect, it } from 'vitest';
import { rememberRecent } from '../../common/recent.ts';

describe('what is remembered of texts seen of late', () => {
  it('is made once, as long as a text keeps coming', () => {
    const made: string[] = [];
    const lengthOf = rememberRecent(2, (text) => made.push(text));
    for (const text of ['a', 'b', 'a', 'c', 'a', 'b', 'a', 'd', 'a']) lengthOf(text);
    expect(made.filter((text) => text === 'a')).toHaveLength(1);
  });

  it('is forgotten two generations later: memory has a bound, whatever is sent', () => {
    const made: string[] = [];
    const remember = rememberRecent(2, (text) => made.push(text));
    for (const text of ['a', 'b', 'c', 'd', 'e', 'a']) remember(text);
    expect(made).toEqual(['a', 'b', 'c', 'd', 'e', 'a']);
  });

  it('is never that of another text, however alike their bytes are', () => {
    const quote = rememberRecent(10, (text) => JSON.stringify(text));
    expect([quote('a\ud800'), quote('a\ufffd'), quote('a\ud800')]).toEqual([
      '"a\\ud800"',
      '"a\ufffd"',
      '"a\\ud800"',
    ]);
  });
});
