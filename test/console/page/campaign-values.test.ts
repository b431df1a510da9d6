import { expect, test } from 'vitest';
import type { Campaign } from '../../../console/page/entities.ts';
import { bodyOf, NEW_CAMPAIGN, valuesOf } from '../../../console/page/views/campaigns/campaign-values.ts';
import { changesOf } from '../../../console/page/views/changes-of.ts';

const campaign: Campaign = {
  ...{ id: 7, externalId: null, advertiserId: 4, advertiserName: 'Blue Shoes', currency: 'EUR' },
  timeZone: 'Europe/Berlin',
  ...{ name: 'Winter', status: 'active', cap: '90.00', spent: '0.00', dailyCap: null, spentToday: null },
  dailyCapReachedUntil: null,
  exhausted: false,
  hasActiveAd: true,
  priceAbove: null,
  ...{ pacing: 'none', hold: false, pace: null, fallbackUrl: null },
  startsAt: '2026-11-30T23:00:00.000Z',
  endsAt: '2026-12-31T23:00:00.000Z',
};

test('whole days are the first and the last day in the time zone of the advertiser', () => {
  const values = valuesOf(campaign);
  expect(values).toMatchObject({
    ...{ firstDay: '2026-12-01', firstClock: '', lastDay: '2026-12-31', lastClock: '' },
  });
  expect(bodyOf(values, 'Europe/Berlin')).toMatchObject({
    ...{ startsAt: campaign.startsAt, endsAt: campaign.endsAt, cap: '90.00', dailyCap: null },
  });
});

test('times of the day stay as they are', () => {
  const dates = { startsAt: '2026-12-01T08:30:00.000Z', endsAt: '2026-12-01T17:00:00.000Z' };
  const values = valuesOf({ ...campaign, ...dates });
  expect(values).toMatchObject({ firstClock: '09:30', lastDay: '2026-12-01', lastClock: '18:00' });
  expect(bodyOf(values, 'Europe/Berlin')).toMatchObject(dates);
});

test('empty fields are null, and hold ends with the pacing', () => {
  const body = bodyOf({ ...NEW_CAMPAIGN, name: 'Spring', hold: true }, 'UTC');
  expect(body).toEqual({
    ...{ name: 'Spring', externalId: null, cap: null, dailyCap: null, pacing: 'none', hold: false },
    ...{ startsAt: null, endsAt: null, fallbackUrl: null },
  });
});

test('a change has the changed fields alone', () => {
  const before = valuesOf(campaign);
  const bodies = [before, { ...before, dailyCap: '5.00' }].map((values) => bodyOf(values, 'UTC'));
  expect(changesOf(bodies[0] ?? {}, bodies[1] ?? {})).toEqual({ dailyCap: '5.00' });
  expect(changesOf({ list: [20, 5] }, { list: [20, 5] })).toEqual({});
});

test.each([
  ['/startsAt', { firstClock: '08:00' }],
  ['/endsAt', { lastClock: '20:00' }],
])('a time without a day is refused at the field of the day: %s', (pointer, values) => {
  const problem = { fields: [{ pointer, detail: expect.stringContaining('day') }] };
  expect(() => bodyOf({ ...NEW_CAMPAIGN, ...values }, 'UTC')).toThrow(expect.objectContaining(problem));
});
