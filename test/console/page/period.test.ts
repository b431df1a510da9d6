import { describe, expect, it } from 'vitest';
import { addDays, countDays, csvNameOf, dayIn, daysOf } from '../../../console/page/views/reports/period.ts';

const at = (time: string) => new Date(time);

describe('the period of a report', () => {
  it('ends with the day that it is in the time zone of the advertiser', () => {
    const now = at('2026-11-27T23:30:00Z');
    expect(daysOf('today', now, 'UTC')).toEqual({ since: '2026-11-27', until: '2026-11-28' });
    expect(daysOf('today', now, 'Europe/Berlin')).toEqual({ since: '2026-11-28', until: '2026-11-29' });
    expect(daysOf('today', now, 'America/Los_Angeles')).toEqual({ since: '2026-11-27', until: '2026-11-28' });
  });

  it('has seven days as a week, with today', () => {
    const days = daysOf('week', at('2026-03-03T12:00:00Z'), 'UTC');
    expect(days).toEqual({ since: '2026-02-25', until: '2026-03-04' });
    expect(countDays(days)).toBe(7);
  });

  it('has this month up to today, and the whole of the last one', () => {
    const now = at('2026-03-31T12:00:00Z');
    expect(daysOf('month', now, 'UTC')).toEqual({ since: '2026-03-01', until: '2026-04-01' });
    expect(daysOf('previous', now, 'UTC')).toEqual({ since: '2026-02-01', until: '2026-03-01' });
    expect(daysOf('previous', at('2026-01-01T00:00:00Z'), 'UTC')).toEqual({
      ...{ since: '2025-12-01', until: '2026-01-01' },
    });
  });

  it('names the file by its first and last day', () => {
    const days = daysOf('previous', at('2026-03-31T12:00:00Z'), 'Europe/Berlin');
    expect(csvNameOf(days)).toBe('report-2026-02-01-2026-02-28.csv');
  });

  it('counts calendar days, also where a day has 23 or 25 hours', () => {
    expect(addDays('2026-03-29', 1)).toBe('2026-03-30');
    expect(addDays('2026-10-25', 1)).toBe('2026-10-26');
    expect(addDays('2028-02-28', 1)).toBe('2028-02-29');
    expect(dayIn(at('2026-10-25T22:59:59Z'), 'Europe/Berlin')).toBe('2026-10-25');
    expect(countDays({ since: '2026-10-24', until: '2026-10-27' })).toBe(3);
    expect(countDays({ since: '2026-10-27', until: '2026-10-24' })).toBe(0);
  });
});
