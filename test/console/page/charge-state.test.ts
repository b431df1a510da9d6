import { expect, test } from 'vitest';
import { chargeOf, isAbove, phaseOf } from '../../../console/page/charge-state.ts';

const NOW = Date.parse('2026-06-15T12:00:00Z');

type Parts = Parameters<typeof chargeOf>[0];

const chargeStateOf = (of: Parts, nowMs: number) => chargeOf(of, nowMs).state;

const campaign: NonNullable<Parts['campaign']> = {
  ...{ status: 'active', startsAt: null, endsAt: null, cap: null, spent: '3.00' },
  ...{ dailyCap: null, spentToday: null, hold: false, pace: null },
};
const parts: Parts = {
  advertiser: { status: 'active', remaining: '10.00' },
  campaign,
  ad: { status: 'active', price: '0.25' },
};

test('clicks of an active ad within its limits are charged', () => {
  expect(chargeStateOf(parts, NOW)).toBe('charging');
});

test.each<[string, Partial<Parts>]>([
  ['advertiser_paused', { advertiser: { status: 'paused', remaining: '10.00' } }],
  ['campaign_archived', { campaign: { ...campaign, status: 'archived' } }],
  ['ad_paused', { ad: { status: 'paused', price: '0.25' } }],
  ['not_started', { campaign: { ...campaign, startsAt: '2026-06-15T12:00:01Z' } }],
  ['ended', { campaign: { ...campaign, endsAt: '2026-06-15T12:00:00Z' } }],
  ['budget', { advertiser: { status: 'active', remaining: '0.00' } }],
  ['cap', { campaign: { ...campaign, cap: '3.00' } }],
  ['daily_cap', { campaign: { ...campaign, dailyCap: '2.00', spentToday: '2.00' } }],
  [
    'pace',
    {
      campaign: {
        ...{ ...campaign, hold: true },
        pace: { planned: 0.5, spent: 0.6, isAhead: true, aheadUntil: '2026-06-15T13:00:00Z' },
      },
    },
  ],
])('says %s', (state, changes) => {
  expect(chargeStateOf({ ...parts, ...changes }, NOW)).toBe(state);
});

test.each<[string, string, Partial<Parts>]>([
  // At midnight, or after a top-up, nothing would change.
  ['price_above_daily_cap', '0.20', { campaign: { ...campaign, dailyCap: '0.20', spentToday: '0.10' } }],
  [
    'price_above_daily_cap',
    '0.20',
    { campaign: { ...campaign, dailyCap: '0.20' }, advertiser: { status: 'active', remaining: '0.00' } },
  ],
  ['price_above_cap', '0.20', { campaign: { ...campaign, cap: '0.20', spent: '0.20' } }],
  ['price_above_budget_left', '0.249999', { advertiser: { status: 'active', remaining: '0.249999' } }],
  ['price_above_cap_left', '0.10', { campaign: { ...campaign, cap: '3.10' } }],
  ['price_above_day_left', '0.24', { campaign: { ...campaign, dailyCap: '1.00', spentToday: '0.76' } }],
])('says %s of %s', (state, limit, changes) => {
  expect(chargeOf({ ...parts, ...changes }, NOW)).toEqual({ state, price: '0.25', limit });
});

test('a price that is as high as a limit is charged', () => {
  const limits = { cap: '3.25', dailyCap: '0.25', spentToday: '0.00' };
  const advertiser = { status: 'active' as const, remaining: '0.25' };
  expect(chargeStateOf({ ...parts, advertiser, campaign: { ...campaign, ...limits } }, NOW)).toBe('charging');
});

test.each([
  ['40', '5.00', true],
  [' 5.000001 ', '5.00', true],
  ['5', '5.00', false],
  ['40,00', '5.00', false],
  ['', '5.00', false],
  ['40', '', false],
  ['40', null, false],
])('entered amount %j, limit %j: above: %s', (amount, limit, expected) => {
  expect(isAbove(amount, limit)).toBe(expected);
});

test('being ahead of the plan prevents nothing without hold', () => {
  const pace = { planned: 0.5, spent: 0.6, isAhead: true, aheadUntil: '2026-06-15T13:00:00Z' };
  expect(chargeStateOf({ ...parts, campaign: { ...campaign, pace } }, NOW)).toBe('charging');
});

test('without an ad, any amount that is left suffices', () => {
  const { ad: _, ...without } = parts;
  expect(chargeStateOf({ ...without, advertiser: { status: 'active', remaining: '0.000001' } }, NOW)).toBe(
    'charging',
  );
});

test('a campaign is charged for as long as its cheapest active ad can be', () => {
  const { ad: _, ...without } = parts;
  const limits = { ...campaign, dailyCap: '5.00', spentToday: '4.85' };
  const ads = [
    { status: 'active' as const, price: '0.50' },
    { status: 'active' as const, price: '0.20' },
    { status: 'paused' as const, price: '0.10' },
  ];
  const stateOf = (of: typeof ads) => chargeStateOf({ ...without, campaign: limits, ads: of }, NOW);
  expect(stateOf(ads)).toBe('price_above_day_left');
  expect(stateOf([...ads, { status: 'active', price: '0.15' }])).toBe('charging');
});

test('a campaign without an active ad charges nothing', () => {
  const { ad: _, ...without } = parts;
  expect(chargeStateOf({ ...without, ads: [] }, NOW)).toBe('no_ad');
  expect(chargeStateOf({ ...without, ads: [{ status: 'archived', price: '0.10' }] }, NOW)).toBe('no_ad');
});

test('a campaign starts at its start and ends before its end', () => {
  const dates = { startsAt: '2026-06-15T12:00:00Z', endsAt: '2026-06-16T00:00:00Z' };
  expect(phaseOf(dates, NOW - 1)).toBe('not_started');
  expect(phaseOf(dates, NOW)).toBe('running');
  expect(phaseOf(dates, Date.parse(dates.endsAt))).toBe('ended');
});
