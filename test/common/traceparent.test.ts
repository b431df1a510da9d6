import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { isSampled, isTraceparent, readTraceparent } from '../../common/telemetry/traceparent.ts';

const IDS = '4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7';
const VALID = `00-${IDS}-01`;

describe('the header traceparent', () => {
  it('is read as it is if it is of version 00', () => {
    for (const flags of ['00', '01', '02', 'ff'])
      expect(readTraceparent(`00-${IDS}-${flags}`)).toContain(IDS);
    expect(readTraceparent(VALID)).toBe(VALID);
  });

  it('of a later version is read as one of version 00, with the flag "sampled" alone', () => {
    expect(readTraceparent(`01-${IDS}-01`)).toBe(VALID);
    expect(readTraceparent(`cc-${IDS}-0b-what-comes-later`)).toBe(VALID);
    expect(readTraceparent(`01-${IDS}-fe`)).toBe(`00-${IDS}-00`);
  });

  it.each([
    ['no header', undefined],
    ['a list', [VALID, VALID]],
    ['two headers, as Node joins them', `${VALID}, ${VALID}`],
    ['an empty text', ''],
    ['upper case', VALID.toUpperCase()],
    ['a trace id of zeros', `00-${'0'.repeat(32)}-00f067aa0ba902b7-01`],
    ['a span id of zeros', `00-4bf92f3577b34da6a3ce929d0e0e4736-${'0'.repeat(16)}-01`],
    ['version 00 with more behind it', `${VALID}-more`],
    ['the forbidden version', `ff-${IDS}-01`],
    ['a later version that is too long', `01-${IDS}-01.more`],
    ['a later version that is too short', `01-${IDS}-0`],
    ['a line break', `${VALID.slice(0, -1)}\n`],
    ['quotes', `00-${IDS}-"}`],
  ])('is ignored if it is %s', (_, header) => {
    expect(readTraceparent(header)).toBeNull();
  });

  it('is never read from other text', () => {
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.string({ minLength: 55, maxLength: 60 })), (text) => {
        expect(readTraceparent(text)).toBeNull();
        expect(isTraceparent(text)).toBe(false);
      }),
    );
  });

  it('says whether the sender records its span', () => {
    expect(['00', '01', '02', '03', 'ff'].map((flags) => isSampled(`00-${IDS}-${flags}`))).toEqual([
      false,
      true,
      false,
      true,
      true,
    ]);
  });
});
