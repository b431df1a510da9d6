import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { readClickQuery, subIdsOf } from '../../ad-server/redirect/click-query.ts';
import { destinationOf } from '../../ad-server/redirect/destination.ts';
import { uuidV7 } from '../../common/uuid.ts';
import { areSubIds } from '../../contract/sub-ids.ts';
import { parseUrlTemplate } from '../../ledger/accounts/url-template.ts';
import { anyCharacter } from '../support/any-character.ts';
import { sampleAd } from '../support/redirect-fixture.ts';

const ID = uuidV7();

/** Where a click with this query is redirected to. */
function destination(urlTemplate: string, passParameters: readonly string[], query: string): string {
  const ad = sampleAd({ urlTemplate, passParameters });
  return destinationOf(ad, ID, false, readClickQuery(`/c/token${query}`)) ?? '';
}

describe('a destination', () => {
  it.each([
    ['https://a.example/?b=1', '?gclid=x', 'https://a.example/?b=1&gclid=x'],
    ['https://a.example', '?gclid=x', 'https://a.example?gclid=x'],
    ['https://a.example/b', '?gclid=x', 'https://a.example/b?gclid=x'],
    ['https://a.example/b?', '?gclid=x', 'https://a.example/b?gclid=x'],
    ['https://a.example/b?c&', '?gclid=x', 'https://a.example/b?c&gclid=x'],
    ['https://a.example/#/route?x=1', '?gclid=x', 'https://a.example/?gclid=x#/route?x=1'],
    ['https://a.example/?b={click_id}#c', '?gclid=x', `https://a.example/?b=${ID}&gclid=x#c`],
    [
      'https://a.example/',
      '?utm_source=a&other=1&utm_medium=b',
      'https://a.example/?utm_source=a&utm_medium=b',
    ],
    [
      'https://a.example/?utm_source=own',
      '?utm_source=a&utm_medium=b',
      'https://a.example/?utm_source=own&utm_medium=b',
    ],
    ['https://a.example/?UTM_Source=own', '?utm_source=a', 'https://a.example/?UTM_Source=own'],
    ['https://a.example/', '?gclid=a&gclid=b', 'https://a.example/?gclid=a'],
    ['https://a.example/', '?gclid', 'https://a.example/?gclid='],
    ['https://a.example/', '?gclid={click_id}', 'https://a.example/?gclid=%7Bclick_id%7D'],
    ['https://a.example/', '?gclid=a+b%20c', 'https://a.example/?gclid=a%20b%20c'],
    [
      'https://a.example/',
      '?gclid=%26x=1%23y%0d%0aSet-Cookie:z',
      'https://a.example/?gclid=%26x%3D1%23y%0D%0ASet-Cookie%3Az',
    ],
    ['https://a.example/', "?gclid='%22<>()!*", 'https://a.example/?gclid=%27%22%3C%3E%28%29%21%2A'],
    ['https://a.example/', '?gclid=%zz%', 'https://a.example/?gclid=%25zz%25'],
    ['https://a.example/', '?gclid=%ff', 'https://a.example/?gclid=%EF%BF%BD'],
    ['https://a.example/', '?gclid=\ud800', 'https://a.example/?gclid=%EF%BF%BD'],
    ['https://a.example/', '?', 'https://a.example/'],
    ['https://a.example/', '', 'https://a.example/'],
    ['https://a.example/', '?gclid[]=1&gcl%69d=2&__proto__=1', 'https://a.example/?gclid=2'],
  ])('%s of a click with %s is %s', (urlTemplate, query, expected) => {
    expect(destination(urlTemplate, ['utm_*', 'gclid'], query)).toBe(expected);
  });

  it('gets nothing from an ad without a pass list', () => {
    expect(destination('https://a.example/', [], '?gclid=x&sub1=a')).toBe('https://a.example/');
  });

  it('gets at most 20 parameters, 500 characters of a value and 2 000 characters in total', () => {
    const query = (count: number, characters: number) =>
      `?${Array.from({ length: count }, (_, index) => `p${index}=${'x'.repeat(characters)}`).join('&')}`;
    const passed = (text: string) => [
      ...new URL(destination('https://a.example/', ['p*'], text)).searchParams,
    ];
    expect(passed(query(100, 1))).toHaveLength(20);
    expect(passed(query(1, 500))).toHaveLength(1);
    expect(passed(query(1, 501))).toEqual([]);
    expect(passed(query(10, 490))).toHaveLength(4);
    // A value that does not fit is left out, not cut, and shorter ones after it are passed on.
    expect(passed(`${query(4, 490)}&p4=${'x'.repeat(60)}&p5=y`).map(([name]) => name)).toEqual([
      'p0',
      'p1',
      'p2',
      'p3',
      'p5',
    ]);
    expect(destination('https://a.example/', ['p*'], query(100, 100)).length).toBeLessThanOrEqual(
      2_000 + 'https://a.example/'.length,
    );
  });
});

const name = fc.oneof(
  fc.constantFrom(
    'utm_source',
    'utm_',
    'gclid',
    'click',
    'CLICK',
    'a',
    'a[]',
    'a.b',
    'a%5B%5D',
    '__proto__',
    'sub1',
    '',
  ),
  fc.string({ maxLength: 8 }),
);
const value = fc.oneof(
  fc.string({ unit: anyCharacter, maxLength: 40 }),
  fc.constantFrom(
    '#',
    '&x=1',
    '%23',
    '%26click=2',
    '//evil.example',
    '@evil.example',
    '%',
    '%0d%0aa: b',
    'y'.repeat(600),
  ),
  fc.string({ unit: 'grapheme', maxLength: 20 }).map(encodeURIComponent),
);
const query = fc.oneof(
  fc.string({ unit: anyCharacter, maxLength: 200 }),
  fc
    .array(fc.tuple(name, value), { maxLength: 30 })
    .map((parameters) => parameters.map(([one, other]) => `${one}=${other}`).join('&')),
);
const template = fc
  .tuple(
    fc.constantFrom('https://a.example', 'http://a.example:8080', 'https://[2001:db8::1]'),
    fc.constantFrom('', '/', '/b/{ad_id}', '/b%3Fc'),
    fc.constantFrom(
      '',
      '?',
      '?click={click_id}',
      '?utm_source=own&',
      '?a=1;gclid=2',
      '?a[]=1&UTM_Medium',
      '?%61=1',
      '?u=https://b.example/?x=1',
    ),
    fc.constantFrom('', '#', '#part', '#/route?gclid=1&click={click_id}'),
  )
  .map((parts) => parseUrlTemplate(parts.join('')));
const list = fc.subarray(['utm_*', 'gclid', 'click', 'a', 'a*', 'sub1', '_*', 'x*']);

describe('any query of a click', () => {
  it('changes neither scheme, host, path, own parameters nor fragment of the destination', () => {
    let added = 0;
    fc.assert(
      fc.property(template, list, query, (urlTemplate, passParameters, text) => {
        const plain = new URL(destination(urlTemplate, [], ''));
        const location = destination(urlTemplate, passParameters, `?${text}`);
        expect(location).toMatch(/^[\x21-\x7e]+$/);
        const got = new URL(location);
        const partsOf = ({ protocol, host, username, password, pathname, hash }: URL) => [
          protocol,
          host,
          username,
          password,
          pathname,
          hash,
        ];
        expect(partsOf(got)).toEqual(partsOf(plain));
        const own = [...plain.searchParams];
        const all = [...got.searchParams];
        expect(all.slice(0, own.length)).toEqual(own);
        const names = new Set(own.map(([one]) => one.toLowerCase()));
        for (const [one] of all.slice(own.length)) {
          expect(names.has(one.toLowerCase()), one).toBe(false);
          expect(
            passParameters.some(
              (entry) => entry === one || (entry.endsWith('*') && one.startsWith(entry.slice(0, -1))),
            ),
          ).toBe(true);
          added += 1;
        }
        expect(all.length - own.length).toBeLessThanOrEqual(20);
        expect(location.length - plain.href.length).toBeLessThanOrEqual(2_001);
      }),
      { numRuns: 3_000 },
    );
    expect(added).toBeGreaterThan(300);
  });

  it('has sub-ids that a click event can have, or none', () => {
    let found = 0;
    const parameters = fc.array(fc.tuple(fc.constantFrom('sub1', 'sub2', 'sub5', 'sub6', 'SUB1'), value), {
      maxLength: 6,
    });
    fc.assert(
      fc.property(parameters, (drawn) => {
        const subIds = subIdsOf(
          readClickQuery(`/c/x?${drawn.map(([one, other]) => `${one}=${other}`).join('&')}`),
        );
        if (subIds === null) return;
        found += 1;
        expect(areSubIds(subIds)).toBe(true);
        expect(Object.keys(subIds).length).toBeGreaterThan(0);
      }),
      { numRuns: 1_000 },
    );
    expect(found).toBeGreaterThan(300);
  });
});

it('sub-ids are decoded, without control characters, cut to 100 characters, and never empty', () => {
  const subIds = (text: string) => subIdsOf(readClickQuery(`/c/x?${text}`));
  expect(subIds('sub1=summer%20sale&sub3=%C3%A9&sub6=x')).toEqual({ sub1: 'summer sale', sub3: 'é' });
  expect(subIds('sub1=a%00b%0Ac')).toEqual({ sub1: 'abc' });
  expect(subIds(`sub1=${'%F0%9F%98%80'.repeat(101)}`)).toEqual({ sub1: '😀'.repeat(100) });
  expect(subIds('sub1=&sub2&sub3=%00')).toBeNull();
  expect(subIds('x=1')).toBeNull();
  expect(subIdsOf(null)).toBeNull();
});
