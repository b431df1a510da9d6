import { expect, it } from 'vitest';
import { describeEvent } from '../../../console/page/views/clicks/describe-event.ts';
import type { ClickRows, LedgerClick } from '../../../ledger/clicks/click-rows.ts';
import { historyOf } from '../../../ledger/clicks/click-story.ts';

const at = (second: number) => new Date(Date.UTC(2026, 0, 1, 0, 0, second));

const NOTHING: ClickRows = {
  clickId: '01a208fb-f934-70de-beaa-9335acbb4502',
  ledger: null,
  letters: [],
  redrives: [],
  credits: [],
  evidence: null,
  duplicates: null,
};

const IDS = {
  ...{ advertiserId: 1, campaignId: 1, adId: 1, publisher: null, nonce: null },
  ...{ spoolId: '01a208fb-f934-70de-beaa-9335acbb4503', sequence: 7n, clickedAt: at(0) },
};

const settled = (outcome: string, reason: string | null): LedgerClick => ({
  ...IDS,
  ...{ outcome, reason, chargedMicros: 0n, settledAt: at(2) },
});

const letter = { ...IDS, id: 12n, detail: '', priceMicros: null, settledAt: at(2) };

/** What the page says of a click with these rows. */
const wordsOf = (rows: Partial<ClickRows>) =>
  historyOf({ ...NOTHING, ...rows }).map(({ event }) => describeEvent(event));

it('says in words how a click was accepted, published, charged, sent again and credited', () => {
  const words = wordsOf({
    ledger: settled('charged', null),
    evidence: {
      ...{ network: null, userAgent: null, referrerHost: null, subIds: null },
      publishedAt: at(1),
    },
    duplicates: [at(3)],
    credits: [{ advertiserId: 1, micros: 1n, at: at(4) }],
  });
  expect(words).toEqual([
    'Accepted by an ad server, which redirected the visitor',
    'Published to the broker',
    'Settled in the ledger: charged',
    'A copy arrived, and changed nothing',
    'Credited to the advertiser',
  ]);
});

it.each([
  ['invalid', 'bot', 'Settled in the ledger: invalid, bot'],
  ['over_budget', 'daily_cap', 'Settled in the ledger: over budget, daily cap reached'],
  ['over_budget', 'a_new_reason', 'Settled in the ledger: over budget, a_new_reason'],
])('says why a click is %s: %s', (outcome, reason, words) => {
  expect(wordsOf({ ledger: settled(outcome, reason) }).at(-1)).toBe(words);
});

it('says that a click was rejected, redriven or discarded', () => {
  const rejected = { ...letter, reason: 'unknown_ad', discardedAt: at(3) };
  expect(wordsOf({ letters: [rejected] }).slice(1)).toEqual([
    'Rejected: unknown ad. Kept as dead letter 12',
    'Dead letter 12 discarded',
  ]);
  const redrive = {
    letterId: 12n,
    reason: 'poison',
    outcome: 'charged',
    rejectedAt: at(1),
    redrivenAt: at(2),
  };
  expect(wordsOf({ redrives: [redrive] })).toEqual([
    'Rejected: cannot be processed. Kept as dead letter 12',
    'Dead letter 12 redriven: charged',
  ]);
});

it('shows an event that is new to the page as it is', () => {
  expect(describeEvent('something new')).toBe('something new');
});
