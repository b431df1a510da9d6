import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  AMOUNT_MICROS_MAX,
  formatAmount,
  parseAmount,
  parseCurrency,
  parsePositiveAmount,
} from '../../common/money.ts';

describe('an amount', () => {
  it('is the same after formatting and parsing', () => {
    fc.assert(
      fc.property(fc.bigInt({ min: -AMOUNT_MICROS_MAX, max: AMOUNT_MICROS_MAX }), (micros) => {
        expect(parseAmount(formatAmount(micros))).toBe(micros);
      }),
    );
  });

  it('has one canonical form after parsing and formatting', () => {
    const written = fc
      .tuple(fc.nat(999_999_999), fc.stringMatching(/^\d{0,6}$/))
      .map(([units, decimals]) => (decimals === '' ? `${units}` : `${units}.${decimals}`));
    fc.assert(
      fc.property(written, (text) => {
        const [units = '', decimals = ''] = text.split('.');
        const shortest = decimals.replace(/0+$/, '').padEnd(2, '0');
        expect(formatAmount(parseAmount(text))).toBe(`${units}.${shortest}`);
      }),
    );
  });

  it.each([
    ['12.50', 12_500_000n],
    ['0.000001', 1n],
    ['-3', -3_000_000n],
    ['-0.01', -10_000n],
    ['1000000000', AMOUNT_MICROS_MAX],
    ['007', 7_000_000n],
  ])('%s is parsed as %d micros', (text, micros) => {
    expect(parseAmount(text)).toBe(micros);
  });

  it.each([
    [0n, '0.00'],
    [-1n, '-0.000001'],
    [10n, '0.00001'],
    [1_234_500n, '1.2345'],
    [-3_000_000n, '-3.00'],
    [10n ** 18n, '1000000000000.00'],
  ])('of %d micros is formatted as %s', (micros, text) => {
    expect(formatAmount(micros)).toBe(text);
  });

  it.each([
    '',
    ' ',
    '.',
    '1.',
    '.5',
    '1,50',
    '1e3',
    '+1',
    '--1',
    '1.0000001',
    '0x10',
    'NaN',
    'Infinity',
    '1 000',
    '12.50 USD',
    '１２',
    '1000000000.000001',
    '-1000000000.01',
    '99999999999',
    '1.5\n',
  ])('%j is refused with an error that quotes it', (text) => {
    expect(() => parseAmount(text)).toThrow(expect.objectContaining({ code: 'bad_amount' }));
    expect(() => parseAmount(text)).toThrow(`"${text}"`);
  });

  it('that must be above zero is refused at 0 and below', () => {
    expect(parsePositiveAmount('0.000001')).toBe(1n);
    for (const text of ['0', '0.00', '-0', '-1']) {
      expect(() => parsePositiveAmount(text)).toThrow(expect.objectContaining({ code: 'bad_amount' }));
    }
  });
});

it('a currency is one of ISO 4217 that is in use', () => {
  for (const code of ['EUR', 'USD', 'JPY', 'KWD']) expect(parseCurrency(code)).toBe(code);
  for (const text of ['eur', 'EU', 'EURO', 'E1R', '', '€€€', 'EUR\n', 'EUE', 'XYZ', 'DEM']) {
    expect(() => parseCurrency(text)).toThrow(expect.objectContaining({ code: 'bad_currency' }));
  }
});
