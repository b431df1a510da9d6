import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { csvLine } from '../../common/csv.ts';
import { uuidV7 } from '../../common/uuid.ts';
import { createListReader, LIST_LINE_CHARS_MAX } from '../../contract/click-list.ts';

const A = '01a208fb-f934-70de-beaa-9335acbb4502';
const B = '01a208fb-f934-70de-beaa-9335acbb4503';

/** What the lines of a list say: the id of a charge, or the kind of the line. */
function read(...lines: readonly string[]): string[] {
  const reader = createListReader();
  return lines.map((line) => {
    const found = reader(line);
    return found.is === 'charge' ? found.clickId : found.is;
  });
}

describe('a list of clicks', () => {
  it('has an id a line', () => {
    expect(read(A, '', `  ${B.toUpperCase()}\r`, `\ufeff${A}`)).toEqual([A, 'blank', B, A]);
  });

  it('has the rows of an export in NDJSON, of which those that are no charges are passed over', () => {
    const row = (clickId: string, outcome: string) => JSON.stringify({ clickId, outcome });
    expect(
      read(row(A, 'charged'), row(B, 'invalid'), row(B, 'credit'), row(B, 'rejected'), `{"clickId":"${B}"}`),
    ).toEqual([A, 'passed_over', 'passed_over', 'passed_over', B]);
  });

  it('has the rows of an export in CSV, of which the same are passed over', () => {
    const header = 'clickId,publisher,outcome';
    expect(
      read(
        ...[
          `\ufeff${header}`,
          `${A},"a, ""b""",charged`,
          `${B},x,invalid`,
          `${B},x,credit`,
          `${B},x,rejected`,
        ],
        ...[',,', header, `"${B}","x","charged"\r`],
      ),
    ).toEqual(['blank', A, 'passed_over', 'passed_over', 'passed_over', 'blank', 'blank', B]);
  });

  it.each([';', '\t'])('in CSV can have other columns, separated by %j', (separator) => {
    const rows = [
      ['outcome', 'clickId', 'note'],
      ['charged', A, ''],
      ['over_budget', B, 'x'],
    ];
    expect(read(...rows.map((row) => row.join(separator)))).toEqual(['blank', A, 'passed_over']);
    expect(read('clickId', A, B)).toEqual(['blank', A, B]);
    // Joined files of a spreadsheet: each begins with a byte order mark.
    expect(read('clickId', A, '\ufeffclickId', B)).toEqual(['blank', A, 'blank', B]);
    expect(read(`clickId${separator}charged`, `${A}${separator}0.40`)).toEqual(['blank', A]);
  });

  it.each([
    ['another text', [A, '4711']],
    ['another UUID', [A, '0b5f0f0e-5d3a-4c6b-9d2f-1f2e3d4c5b6a']],
    ['broken JSON', [A, '{"clickId":']],
    ['a charge without an id', [A, '{"clickId":null,"outcome":"charged"}']],
    ['the names of columns after other lines', [A, 'clickId,outcome']],
    ['CSV without clickId', ['id,outcome']],
    ['a cell too few', ['clickId,outcome', A]],
    ['a cell too many', ['clickId,outcome', `${A},charged,x`]],
    ['a quote that does not end', ['clickId,outcome', `${A},"charged`]],
    ['a charge in CSV without an id', ['clickId,outcome', ',charged']],
    ['an outcome in capital letters', [`{"clickId":"${A}","outcome":"Charged"}`]],
    ['an empty outcome', [`{"clickId":"${A}","outcome":null}`]],
    ['an outcome in CSV in capital letters', ['clickId,outcome', `${A},CHARGED`]],
    ['an empty outcome in CSV', ['clickId,outcome', `${A},`]],
    ['a line that is too long', [`{"clickId":"${A}","x":"${'x'.repeat(LIST_LINE_CHARS_MAX)}"}`]],
  ])('is wrong with %s', (_, lines) => {
    expect(read(...lines).at(-1)).toBe('wrong');
  });

  it('reads every row that csvLine writes', () => {
    fc.assert(
      fc.property(fc.array(fc.string(), { maxLength: 4 }), (cells) => {
        const clickId = uuidV7();
        const header = csvLine([...cells.map((_, index) => `c${index}`), 'clickId']);
        expect(read(header, csvLine([...cells, clickId]))).toEqual(['blank', clickId]);
      }),
    );
  });
});
