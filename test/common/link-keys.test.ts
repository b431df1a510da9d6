import { describe, expect, it } from 'vitest';
import { formatLinkKeys, parseLinkKeys } from '../../common/config/link-keys.ts';
import { k1, otherKey } from '../support/link-samples.ts';

const SECRET = 'AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8';

function problemWith(text: string): string {
  try {
    parseLinkKeys(text);
  } catch (error) {
    expect(error).toMatchObject({ code: 'bad_link_keys' });
    return (error as Error).message;
  }
  throw new Error(`Expected ${text} to be refused`);
}

describe('link keys', () => {
  it('are parsed in order, ignoring spaces around them', () => {
    const keys = parseLinkKeys(` k1:signs:${SECRET} , old_1-:verifies:${SECRET}`);
    expect(keys).toEqual([k1, { id: 'old_1-', state: 'verifies', secret: k1.secret }]);
  });

  it('are the same after formatting and parsing', () => {
    const keys = [k1, otherKey('k2'), otherKey('old', 'verifies')];
    expect(parseLinkKeys(formatLinkKeys(keys))).toEqual(keys);
  });

  it('accept a secret of 16 bytes and refuse one of 15', () => {
    const secretOf = (bytes: number) => Buffer.alloc(bytes, 7).toString('base64url');
    expect(parseLinkKeys(`k1:signs:${secretOf(16)}`)).toHaveLength(1);
    expect(problemWith(`k1:signs:${secretOf(15)}`)).toMatch(/key 1 \(k1\).*at least 16 bytes/);
  });

  it.each([
    ['nothing', '', /key 1: expected id:state:secret/],
    ['a trailing comma', `k1:signs:${SECRET},`, /key 2: expected id:state:secret/],
    ['a missing secret', 'k1:signs', /key 1: expected id:state:secret/],
    ['a part too many', `k1:signs:${SECRET}:x`, /key 1: expected id:state:secret/],
    ['an empty id', `:signs:${SECRET}`, /key 1: expected an id/],
    ['an id with a dot', `k.1:signs:${SECRET}`, /key 1: expected an id/],
    ['an id of 17 characters', `${'k'.repeat(17)}:signs:${SECRET}`, /key 1: expected an id/],
    ['an unknown state', `k1:sign:${SECRET}`, /key 1 \(k1\): expected the state signs or verifies/],
    ['a padded secret', `k1:signs:${SECRET}=`, /key 1 \(k1\): expected a base64url secret/],
    ['a secret in standard base64', `k1:signs:${'+/'.repeat(12)}`, /expected a base64url secret/],
    ['a secret whose last bits are not canonical', `k1:signs:${SECRET.slice(0, -1)}9`, /base64url secret/],
    ['the same id twice', `k1:signs:${SECRET},k1:verifies:${SECRET}`, /ids that differ, got "k1" twice/],
  ])('with %s are refused with what was expected', (_, text, message) => {
    expect(problemWith(text)).toMatch(message);
  });

  it.each([
    ['in another alphabet', `k1:signs:${SECRET}!`],
    ['with a part too many', `k1:signs:${SECRET}:x`],
    ['in the place of the id', `${SECRET}:signs:k1`],
    ['in the place of the state', `k1:${SECRET}:signs`],
    ['alone', SECRET],
    ['beside another that is wrong', `k1:signs:${SECRET},k2:nonsense:${SECRET}`],
  ])('do not have their secret in a message: %s', (_, text) => {
    expect(problemWith(text)).not.toContain(SECRET.slice(0, 12));
  });
});
