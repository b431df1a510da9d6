import { expect, test } from 'vitest';
import { addDays, timeOf, wallTimeOf } from '../../../console/page/zone-time.ts';

test.each([
  ['2026-12-01', '00:00', 'Europe/Berlin', '2026-11-30T23:00:00.000Z'],
  ['2026-06-01', '14:30', 'America/New_York', '2026-06-01T18:30:00.000Z'],
  ['2026-06-01', '00:00', 'Asia/Kathmandu', '2026-05-31T18:15:00.000Z'],
  ['2026-01-31', '23:59', 'UTC', '2026-01-31T23:59:00.000Z'],
])('%s %s in %s is %s, and back', (day, clock, zone, time) => {
  expect(timeOf({ day, clock }, zone)).toBe(time);
  expect(wallTimeOf(time, zone)).toEqual({ day, clock });
});

test('in the hour that a zone skips it is the time after it', () => {
  // Clocks went from 02:00 to 03:00.
  expect(timeOf({ day: '2026-03-29', clock: '02:30' }, 'Europe/Berlin')).toBe('2026-03-29T01:30:00.000Z');
  // In Beirut the day itself begins at 01:00.
  expect(timeOf({ day: '2026-03-29', clock: '00:00' }, 'Asia/Beirut')).toBe('2026-03-28T22:00:00.000Z');
});

test('in the hour that a zone repeats it is the first one', () => {
  expect(timeOf({ day: '2026-10-25', clock: '02:30' }, 'Europe/Berlin')).toBe('2026-10-25T00:30:00.000Z');
});

test('a day that does not exist is refused', () => {
  expect(() => timeOf({ day: '', clock: '00:00' }, 'UTC')).toThrow(RangeError);
});

test('days are added over the ends of months', () => {
  expect(addDays('2026-02-28', 1)).toBe('2026-03-01');
  expect(addDays('2027-01-01', -1)).toBe('2026-12-31');
});
