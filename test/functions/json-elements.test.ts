import { expect, it } from 'vitest';
import { jsonElements } from '../../processor/events/json-elements.ts';

const split = (text: string, countMax = 100) =>
  jsonElements(Buffer.from(text), countMax)?.map(String) ?? null;

it.each([
  ['[]', []],
  [' [ \n ] ', []],
  ['[1, "a,]b" ,{"c":[1,2]},[[]]]', ['1', '"a,]b"', '{"c":[1,2]}', '[[]]']],
  ['["\\\\","\\"]",2]', ['"\\\\"', '"\\"]"', '2']],
  ['["ü,"]', ['"ü,"']],
  // Invalid JSON is split too. Parsing an element then reports the error.
  ['[1,]', ['1', '']],
  ['[,]', ['', '']],
  ['[1,{"a":', ['1', '{"a":']],
  ['[1,"a', ['1', '"a']],
  ['[1] 2', ['1', '2']],
  ['[1]]', ['1', ']']],
])('splits %j', (text, elements) => {
  expect(split(text)).toEqual(elements);
});

it.each(['', ' ', '{}', '1', '"["', 'x['])('returns null for %j, which is not an array', (text) => {
  expect(split(text)).toBeNull();
});

it('returns the same elements as JSON.parse', () => {
  const values = [0, -1.5e3, null, true, 'a"b\\', { a: { b: [1, '}'] } }, [], {}, '\u2028'];
  for (let first = 0; first < values.length; first += 1) {
    const text = JSON.stringify(values.slice(first), null, first);
    expect(split(text)?.map((element) => JSON.parse(element))).toEqual(values.slice(first));
  }
});

it('stops after the maximum number of elements, and skips deeply nested ones quickly', () => {
  expect(split('[1,2,3,4,5]', 2)).toHaveLength(3);
  expect(split('[1,2,3]', 3)).toHaveLength(3);
  expect(split(`[${'['.repeat(1_000_000)}`)).toHaveLength(1);
});
