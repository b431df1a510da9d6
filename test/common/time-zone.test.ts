import { expect, it } from 'vitest';
import { parseTimeZone } from '../../common/time-zone.ts';

it.each([
  ['Europe/Berlin', 'Europe/Berlin'],
  ['europe/berlin', 'Europe/Berlin'],
  ['AMERICA/NEW_YORK', 'America/New_York'],
  ['utc', 'UTC'],
  ['Etc/GMT+3', 'Etc/GMT+3'],
  // This Node has them under another name, which the time zones of PostgreSQL need not have.
  ['Asia/Kolkata', 'Asia/Kolkata'],
  ['America/Argentina/Buenos_Aires', 'America/Argentina/Buenos_Aires'],
])('the time zone %s is that of %s', (text, name) => {
  expect(parseTimeZone(text)).toBe(name);
});

it.each(['', 'Berlin', '+01:00', 'GMT+1', 'Europe/Berlin ', 'Europe/Atlantis', 'Europe/Berlin\n'])(
  'a time zone is not %j',
  (text) => {
    expect(() => parseTimeZone(text)).toThrow(expect.objectContaining({ code: 'bad_time_zone' }));
  },
);
