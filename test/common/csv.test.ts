import { expect, it } from 'vitest';
import { csvLine } from '../../common/csv.ts';

it('a line of CSV quotes what needs it, and leaves absent values empty', () => {
  expect(csvLine(['a', 1, null, 'b,c', 'say "hi"', 12n])).toBe('a,1,,"b,c","say ""hi""",12');
});

it.each([
  ['=1+1', "'=1+1"],
  ['@SUM(A1)', "'@SUM(A1)"],
  ['+1', "'+1"],
  ["-cmd|' /C calc'!A0", "'-cmd|' /C calc'!A0"],
  ['-12.50', '-12.50'],
  ['-site_1', '-site_1'],
  ['Blue = Shoes', 'Blue = Shoes'],
])('a spreadsheet does not evaluate %j', (text, cell) => {
  expect(csvLine([text])).toBe(cell);
});
