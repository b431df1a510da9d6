import { describe, expect, it } from 'vitest';
import { startPosition } from '../../common/config/setting.ts';
import { parseCampaignTime, parseExpiry, parseTime } from '../../common/parse-time.ts';
import { isCalendarDate, isTimeInRange, unixMs } from '../../common/unix-time.ts';
import { parseReportTime } from '../../ledger/reports/report.ts';

const AT = Date.UTC(2026, 10, 26, 9, 7, 10);

it.each([
  [AT / 1_000, AT],
  [AT / 1_000 + 0.25, AT + 250],
  [String(AT / 1_000), AT],
  ['1795684030.5', AT + 500],
  [AT, AT],
  [String(AT), AT],
  // pandas writes integers as floats in a column with missing values.
  [`${AT}.0`, AT],
  ['2026-11-26T09:07:10Z', AT],
  ['2026-11-26T09:07:10.123456789Z', AT + 123],
  ['2026-11-26t09:07:10z', AT],
  ['2026-11-26 10:07:10+01:00', AT],
  ['2026-11-26 09:07:10+00', AT],
  ['2026-11-26T04:07:10-0500', AT],
])('reads the time %j', (time, ms) => {
  expect(unixMs(time)).toBe(ms);
});

it.each([
  [null],
  [undefined],
  [''],
  [0],
  [-AT],
  [Number.NaN],
  [AT * 1_000],
  [String(AT * 1_000)],
  [1e11],
  ['2026-11-26T09:07:10'],
  ['2026-11-26'],
  ['2026-02-31T00:00:00Z'],
  ['2026-11-26T09:07:60Z'],
  ['2026-11-26T09:07:10+25:00'],
  [`${'1'.repeat(1_000_000)}x`],
])('refuses case %#', (time) => {
  expect(unixMs(time)).toBeNull();
});

describe('a date', () => {
  it.each(['2026-02-28', '2024-02-29', '2026-12-31', '2026-01-01'])('%s exists', (text) => {
    expect(isCalendarDate(text)).toBe(true);
    expect(parseTime(text).toISOString()).toBe(`${text}T00:00:00.000Z`);
    expect(startPosition(`${text}T12:00:00Z`)).toEqual(new Date(`${text}T12:00:00Z`));
  });

  it.each([
    ['2026-01-31T12:00:00Z', '2026-01-31T12:00:00.000Z'],
    ['2026-01-31 12:00+02:00', '2026-01-31T10:00:00.000Z'],
    ['2026-01-31T12:00:00.123456Z', '2026-01-31T12:00:00.123Z'],
  ])('with a time and an offset is an instant: %s', (text, instant) => {
    expect(parseTime(text).toISOString()).toBe(instant);
  });

  it.each(['2026-01-31 12:00', '2026-01-31T12:00:00', '2026-01-31T', '2026-01-31x', '2026-01-31T25:00Z'])(
    'with a time needs an offset: %s',
    (text) => {
      expect(() => parseTime(text)).toThrow(expect.objectContaining({ code: 'bad_time' }));
    },
  );

  it.each(['2026-02-29', '2026-02-31', '2026-04-31', '2026-13-01', '2026-00-10', '2026-01-00'])(
    '%s does not exist and is refused',
    (text) => {
      expect(isCalendarDate(text)).toBe(false);
      expect(() => parseTime(text)).toThrow(expect.objectContaining({ code: 'bad_time' }));
      expect(() => startPosition(`${text}T12:00:00Z`)).toThrow(`got "${text}T12:00:00Z"`);
    },
  );
});

describe('a time that is given', () => {
  it.each(['1970-01-01T00:00:00Z', '1969-12-31T23:00:00-01:00', '9999-12-31T23:59:59.999Z'])(
    'can be %s',
    (text) => {
      expect(isTimeInRange(new Date(text))).toBe(true);
      expect(parseTime(text)).toEqual(new Date(text));
      expect(startPosition(text)).toEqual(new Date(text));
    },
  );

  it.each([
    '0001-01-01T00:00:00+12:00',
    '0099-06-01T00:00:00Z',
    '1969-12-31T23:59:59.999Z',
    '1970-01-01T00:00:00+01:00',
    '9999-12-31T23:00:00-01:00',
  ])('is not in the years 1970 to 9999 of UTC and is refused: %s', (text) => {
    expect(isTimeInRange(new Date(text))).toBe(false);
    const error = {
      code: 'bad_time',
      message: `Expected a time in the years 1970 to 9999 of UTC, got "${text}"`,
    };
    for (const parse of [parseTime, parseCampaignTime, parseExpiry, parseReportTime])
      expect(() => parse(text)).toThrow(expect.objectContaining(error));
    expect(() => startPosition(text)).toThrow(`in the years 1970 to 9999, got "${text}"`);
  });

  it.each(['0001-01-01', '1969-12-31'])('is a day of these years: not %s', (day) => {
    for (const parse of [parseTime, parseCampaignTime, parseExpiry, parseReportTime])
      expect(() => parse(day)).toThrow(`Expected a time in the years 1970 to 9999 of UTC, got "${day}"`);
  });

  it('is not longer ago', () => {
    expect(() => parseTime('999999d')).toThrow('got "999999d"');
  });
});
