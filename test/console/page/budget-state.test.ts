import { expect, test } from 'vitest';
import { byExhaustion, toneOf } from '../../../console/page/budget-state.ts';

const budget: Parameters<typeof byExhaustion>[0] = {
  ...{ advertiserId: 1, name: 'A', currency: 'EUR', status: 'active', budget: '10.00', spent: '4.00' },
  ...{
    remaining: '6.00',
    perHour: '0.00',
    exhaustedAt: null,
    exhausted: false,
    lowBudget: false,
    isSample: false,
  },
};

test.each([
  ['what is left', {}, undefined],
  ['a low budget', { lowBudget: true }, 'low'],
  ['less than the price of every ad', { exhausted: true, lowBudget: true }, 'empty'],
  ['nothing left, while every ad is paused', { remaining: '0.00', lowBudget: true }, 'empty'],
  ['no budget yet', { budget: '0.00', spent: '0.00', remaining: '0.00' }, undefined],
])('the tone of %s', (_, changes, tone) => {
  expect(toneOf({ ...budget, ...changes })).toBe(tone);
});

test('those with nothing left come first, whether or not they have active ads', () => {
  const names = [
    { ...budget, name: 'idle' },
    { ...budget, name: 'spending', exhaustedAt: '2026-06-15T12:00:00Z' },
    { ...budget, name: 'paused, nothing left', remaining: '0.00' },
    { ...budget, name: 'nothing for an ad', exhausted: true },
  ];
  expect(names.sort(byExhaustion).map(({ name }) => name)).toEqual([
    ...['nothing for an ad', 'paused, nothing left', 'spending', 'idle'],
  ]);
});
