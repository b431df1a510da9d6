import { expect, it } from 'vitest';
import { describeEvent } from '../../../console/page/views/clicks/describe-event.ts';

it.each([
  ['accepted: spool 01a2, sequence 7', 'Accepted by an ad server, which redirected the visitor'],
  ['accepted', 'Accepted by an ad server, which redirected the visitor'],
  ['settled: charged', 'Settled in the ledger: charged'],
  ['settled: invalid: bot', 'Settled in the ledger: invalid, bot'],
  ['rejected: unknown_ad (dead letter 12)', 'Rejected: unknown ad. Kept as dead letter 12'],
  ['redriven: charged (dead letter 12)', 'Dead letter 12 redriven: charged'],
  ['credited', 'Credited to the advertiser'],
  ['discarded (dead letter 12)', 'Dead letter 12 discarded'],
  ['something new', 'something new'],
])('says the event %s in words', (event, words) => {
  expect(describeEvent(event)).toBe(words);
});
