import { describe, expect, it } from 'vitest';
import { findRepeatedName } from '../../common/json.ts';

describe('findRepeatedName', () => {
  it.each([
    ['{"a":1,"a":2}', 'a'],
    ['{"a":{"b":1,"b":2}}', 'b'],
    ['[{"a":1},{"b":[],"c":{},"b":1}]', 'b'],
    ['{"a":1,"\\u0061":2}', 'a'],
    ['{"\\"":1,"\\"":2}', '"'],
    ['{"\\\\":1,"\\\\":2}', '\\'],
    ['{"__proto__":1,"__proto__":2}', '__proto__'],
    ['{"":1,"":2}', ''],
    [' {\n"a" : "x" ,\t"a" : "y" } ', 'a'],
  ])('finds the name that %s has twice', (json, name) => {
    JSON.parse(json);
    expect(findRepeatedName(json)).toBe(name);
  });

  it.each([
    '{"a":1,"b":1}',
    '{"a":{"a":{"a":[]}}}',
    '[{"a":1},{"a":2}]',
    '{"a":"a","b":["a","a"]}',
    '{"a":"{\\"b\\":1,\\"b\\":2}","b":1}',
    '{"a":[{"b":1}],"b":1}',
    '"a"',
    '[1,1]',
    'null',
  ])('finds none in %s', (json) => {
    JSON.parse(json);
    expect(findRepeatedName(json)).toBeNull();
  });

  it('reads a megabyte of any form', () => {
    expect(findRepeatedName('['.repeat(500_000) + ']'.repeat(500_000))).toBeNull();
    expect(findRepeatedName(`{"a":"${'\\"'.repeat(500_000)}"}`)).toBeNull();
    expect(findRepeatedName(`${'{"a":'.repeat(150_000)}1${'}'.repeat(150_000)}`)).toBeNull();
  });
});
