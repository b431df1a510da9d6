/** Millionths of an amount of the API, such as `12.50`: exact, unlike a number with a fraction. Throws a `SyntaxError` for another text. */
export function microsOf(amount: string): bigint {
  const [whole = '', fraction = ''] = amount.replace('-', '').split('.');
  const micros = BigInt(`${whole}${fraction.padEnd(6, '0')}`);
  return amount.startsWith('-') ? -micros : micros;
}

/** The share of a part in a whole, 0–1, for the length of a bar. Of a whole of 0 it is 0. */
export function shareOf(part: string, whole: string): number {
  const all = Number(whole);
  return all > 0 ? Math.max(0, Math.min(1, Number(part) / all)) : 0;
}

/** What a whole has besides a part, as a decimal amount; at least 0. */
export function restOf(whole: string, part: string): string {
  const micros = microsOf(whole) - microsOf(part);
  return amountOf(micros > 0n ? micros : 0n);
}

/** The sum of decimal amounts of the API times `sign`, exact: in micros, like the ledger. */
export function sumAmounts(amounts: readonly string[], sign: 1n | -1n = 1n): string {
  return amountOf(sign * amounts.reduce((sum, amount) => sum + microsOf(amount), 0n));
}

/** Micros as a decimal amount with 2–6 decimals. */
function amountOf(micros: bigint): string {
  const digits = String(micros < 0n ? -micros : micros).padStart(7, '0');
  const fraction = digits.slice(-6).replace(/0{1,4}$/, '');
  return `${micros < 0n ? '-' : ''}${digits.slice(0, -6)}.${fraction}`;
}
