import { describe, expect, it } from 'vitest';
import {
  ACCESS_RULES,
  assertAdvertiser,
  assertAllowed,
  assertVisible,
  type Caller,
} from '../../console/api/access.ts';
import { ROLES } from '../../ledger/access/api-keys.ts';
import { cellsOf, readPage, rowsOf } from '../support/markdown.ts';

const caller = (advertiserIds: readonly number[] | null): Caller => ({
  ...{ keyId: 1, name: 'a key', role: 'viewer' as const },
  advertiserIds,
});
const gone = () => new Error('gone');

describe('what belongs to an advertiser', () => {
  it.each([
    ['an unrestricted caller sees', null, 1, true],
    ['an unrestricted caller also sees what belongs to none', null, null, true],
    ['a restricted caller sees, if it is one of its own', [1, 2], 2, true],
    ['a restricted caller does not see, if it is of another', [1, 2], 3, false],
    ['a restricted caller does not see, if it belongs to none', [1, 2], null, false],
  ])('%s', (_, advertiserIds, owner, isVisible) => {
    const look = () => assertVisible(caller(advertiserIds), owner, gone);
    if (isVisible) expect(look).not.toThrow();
    else expect(look).toThrow('gone');
  });

  it('is unknown to a restricted caller, with the text of an id that does not exist', () => {
    expect(() => assertAdvertiser(caller([1]), 1)).not.toThrow();
    expect(() => assertAdvertiser(caller([1]), 2)).toThrow(
      'Expected the id of an advertiser in the database, got 2',
    );
  });
});

describe('docs/running.md', () => {
  it('lists what each rule allows to whom', () => {
    const rows = rowsOf(readPage('docs/running.md'), 'rule').map(cellsOf);
    const yes = (allowed: boolean) => (allowed ? 'yes' : '');
    expect(rows.map(([rule, , ...cells]) => [rule, ...cells])).toEqual(
      Object.entries(ACCESS_RULES).map(([rule, { restricted }]) => [
        `\`${rule}\``,
        ...ROLES.map((role) => {
          const isAllowed = allows(role, rule as keyof typeof ACCESS_RULES);
          return yes(isAllowed);
        }),
        yes(restricted),
      ]),
    );
    for (const [rule, allowed] of rows) expect(allowed, rule).toMatch(/^[a-z]/);
  });
});

function allows(role: Caller['role'], rule: keyof typeof ACCESS_RULES): boolean {
  try {
    assertAllowed({ ...caller(null), role }, rule);
    return true;
  } catch {
    return false;
  }
}
