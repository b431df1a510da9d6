import { describe, expect, it } from 'vitest';
import { assertPassListFits, createPassFilter, parsePassList } from '../../../ledger/accounts/pass-list.ts';

describe('a pass list', () => {
  it('is read from names and beginnings of names', () => {
    expect(parsePassList('utm_*, gclid,sub1,gclid')).toEqual(['utm_*', 'gclid', 'sub1']);
    expect(parsePassList('')).toEqual([]);
  });

  it.each([
    ['a name with another character', 'a.b'],
    ['a name with brackets', 'a[]'],
    ['a name with %', 'utm%5Fsource'],
    ['a name of 65 characters', 'a'.repeat(65)],
    ['* alone', '*'],
    ['* in a name', 'u*m'],
    ['an empty name', 'a,,b'],
    ['21 names', Array.from({ length: 21 }, (_, index) => `p${index}`).join(',')],
  ])('is refused with %s', (_, text) => {
    expect(() => parsePassList(text)).toThrow(expect.objectContaining({ code: 'bad_pass_list' }));
  });

  it.each([
    ['https://example.com/?click={click_id}', 'click'],
    ['https://example.com/?a=1&Click={click_id}#part', 'click'],
    ['https://example.com/?click', 'CLICK'],
    ['https://example.com/?utm%5Fsource=a', 'utm_source'],
    ['https://example.com/?a=1;b=2', 'b'],
    ['https://example.com/?filter[id]=1', 'filter'],
    ['https://example.com/?filter.id=1', 'filter_id'],
    ['https://example.com/?+a=1', 'a'],
    ['/sample/coffee?click={click_id}', 'click'],
  ])('must not name a parameter of its destination: %s, %s', (urlTemplate, name) => {
    expect(() => assertPassListFits(['utm_*', name], urlTemplate)).toThrow(
      expect.objectContaining({
        code: 'bad_pass_list',
        message: `Expected query parameters that the destination does not have itself, got "${name}", which is in ${urlTemplate}`,
      }),
    );
    expect(createPassFilter([name], urlTemplate)(name)).toBe(false);
  });

  it.each([
    'https://example.com/',
    'https://example.com/#?gclid=1',
    'https://gclid.example/gclid?a=gclid#gclid',
    'https://example.com/?utm_source=news',
  ])('can have names that %s does not have, and beginnings of those that it has', (urlTemplate) => {
    expect(() => assertPassListFits(['gclid', 'utm_*'], urlTemplate)).not.toThrow();
  });

  it('passes what it names and the destination does not have', () => {
    const passes = createPassFilter(
      ['utm_*', 'gclid'],
      'https://example.com/?utm_Source=news&click={click_id}',
    );
    expect(['utm_medium', 'utm_', 'gclid'].filter(passes)).toEqual(['utm_medium', 'utm_', 'gclid']);
    const others = [
      'utm_source',
      'UTM_medium',
      'gclid2',
      'GCLID',
      'click',
      'utm_a.b',
      'utm_a[]',
      'utm_a b',
      'utm_é',
    ];
    expect(others.filter(passes)).toEqual([]);
  });
});
