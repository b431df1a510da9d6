/** Returns the first row of a result that must not be empty. Throws if it is empty. */
export function singleRow<T>(rows: readonly T[]): T {
  const [row] = rows;
  if (!row) throw new Error('Expected one row, got none');
  return row;
}
