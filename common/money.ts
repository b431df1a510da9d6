import { TollwayError } from './errors.ts';
import { printable } from './text.ts';

/** Micros in one unit of a currency. All amounts are whole micros in a `bigint`, never floats. */
export const MICROS_PER_UNIT = 1_000_000n;

/** The largest amount of one entry: a billion units. Every price is therefore a safe integer in JSON. */
export const AMOUNT_MICROS_MAX = 1_000_000_000n * MICROS_PER_UNIT;

/**
 * Parses a decimal amount (`12.50`, `-3`, `0.000001`) into micros.
 * At most six decimals and ±1 000 000 000 units. Throws `bad_amount`.
 */
export function parseAmount(text: string): bigint {
  const match = /^(-?)(\d{1,40})(?:\.(\d{1,6}))?$/.exec(text);
  if (!match) {
    const form = text.includes(',')
      ? 'with a point and no comma, such as 12.50'
      : 'such as 12.50 (at most 6 decimals)';
    throw new TollwayError('bad_amount', `Expected an amount ${form}, got "${text}"`);
  }
  const [, sign, units = '0', decimals = ''] = match;
  const micros = BigInt(units) * MICROS_PER_UNIT + BigInt(decimals.padEnd(6, '0'));
  if (micros > AMOUNT_MICROS_MAX) {
    throw new TollwayError('bad_amount', `Expected an amount of at most 1000000000, got "${text}"`);
  }
  return sign === '-' ? -micros : micros;
}

/** Parses an amount greater than zero into micros. Throws `bad_amount`. */
export function parsePositiveAmount(text: string): bigint {
  const micros = parseAmount(text);
  if (micros <= 0n) throw new TollwayError('bad_amount', `Expected an amount above 0, got "${text}"`);
  return micros;
}

/** Formats micros as a decimal with at least two decimals: `12.50`, `0.000001`, `-3.00`. */
export function formatAmount(micros: bigint): string {
  const absolute = micros < 0n ? -micros : micros;
  const decimals = (absolute % MICROS_PER_UNIT)
    .toString()
    .padStart(6, '0')
    .replace(/0{1,4}$/, '');
  return `${micros < 0n ? '-' : ''}${absolute / MICROS_PER_UNIT}.${decimals}`;
}

/** Parses the ISO 4217 code of a currency that is in use, as this Node knows them: three capital letters. Throws `bad_currency`. */
export function parseCurrency(text: string): string {
  if (!Intl.supportedValuesOf('currency').includes(text)) {
    throw new TollwayError(
      'bad_currency',
      `Expected a currency of ISO 4217, three capital letters such as USD, got "${printable(text)}"`,
    );
  }
  return text;
}
