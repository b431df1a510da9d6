import { expect, test } from 'vitest';
import { texts } from '../../../console/page/texts.ts';
import { checkCampaign } from '../../../console/page/views/campaigns/campaign-check.ts';
import { bodyOf, NEW_CAMPAIGN } from '../../../console/page/views/campaigns/campaign-values.ts';

const { fields, pacings } = texts.campaigns;

const faultsOf = (changes: Partial<typeof NEW_CAMPAIGN>) => {
  try {
    checkCampaign(bodyOf({ ...NEW_CAMPAIGN, name: 'Winter', ...changes }, 'Europe/Berlin'));
    return [];
  } catch (error) {
    return (error as { fields: unknown }).fields;
  }
};

test.each<[string, Partial<typeof NEW_CAMPAIGN>]>([
  ['only a name', {}],
  ['one day', { firstDay: '2026-12-02', lastDay: '2026-12-02' }],
  ['no first day', { lastDay: '2026-12-02' }],
  ['a plan with a daily cap', { pacing: 'even', dailyCap: '5.00' }],
  ['hold', { pacing: 'rest', dailyCap: '5.00', hold: true, fallbackUrl: 'https://example.com/' }],
])('a campaign with %s is sent', (_, changes) => {
  expect(faultsOf(changes)).toEqual([]);
});

test.each<[string, Partial<typeof NEW_CAMPAIGN>, string, string]>([
  [
    'a last day before the first one',
    { firstDay: '2026-12-02', lastDay: '2026-12-01' },
    '/endsAt',
    fields.endBeforeStart,
  ],
  [
    'an end at its start',
    { firstDay: '2026-12-02', firstClock: '10:00', lastDay: '2026-12-02', lastClock: '10:00' },
    '/endsAt',
    fields.endBeforeStart,
  ],
  ['a plan without a daily cap', { pacing: 'even' }, '/dailyCap', fields.pacingWithoutCap(pacings.even)],
  [
    'hold without a fallback URL',
    { pacing: 'rest', dailyCap: '5.00', hold: true },
    '/fallbackUrl',
    fields.holdWithoutFallback,
  ],
])('a campaign with %s is not sent', (_, changes, pointer, detail) => {
  expect(faultsOf(changes)).toEqual([{ pointer, detail }]);
});
