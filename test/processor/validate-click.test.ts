import { describe, expect, it } from 'vitest';
import { DAY_MS } from '../../common/unix-time.ts';
import { uuidV7 } from '../../common/uuid.ts';
import type { KnownAd } from '../../ledger/charge/balances.ts';
import { rejectionReason } from '../../processor/charge/validate-click.ts';
import { type ClickOverrides, clickRecord } from '../support/records.ts';

const NOW_MS = Date.UTC(2026, 5, 15, 12);
const AD: KnownAd = { campaignId: 1, advertiserId: 1, capRemainingMicros: null, hasDailyCap: false };
const WINDOW = {
  nowMs: NOW_MS,
  clickFloorMs: NOW_MS - 10 * DAY_MS,
  clickAheadMs: NOW_MS + 8 * DAY_MS,
  nonceFloorMs: NOW_MS - 20 * DAY_MS,
  nonceAheadMs: NOW_MS + 8 * DAY_MS,
  evidenceFloorMs: null,
};

function reasonFor(click: ClickOverrides, window = WINDOW, clickAgeMaxDays: number | null = 5) {
  const context = { ads: new Map([[1, AD]]), window, clickAgeMaxDays };
  return rejectionReason(clickRecord({ clickedAt: NOW_MS, ...click }), context)?.reason ?? null;
}

it('the detail of a rejection has the expected and the actual value', () => {
  const detailOf = (click: ClickOverrides) =>
    rejectionReason(clickRecord({ clickedAt: NOW_MS, ...click }), {
      ads: new Map([[1, AD]]),
      window: WINDOW,
      clickAgeMaxDays: 1,
    })?.detail;
  const ad = { id: 7, campaignId: 3, advertiserId: 2, priceMicros: 1n };
  expect(detailOf({ ad })).toBe(
    'Expected the id of an ad in the database, got 7 (of campaign 3, advertiser 2)',
  );
  expect(detailOf({ clickedAt: NOW_MS - 2 * DAY_MS })).toBe(
    'Expected a click of the last 1 day, got 2026-06-13T12:00:00.000Z',
  );
});

describe('a click at a limit', () => {
  it.each([
    ['as old as allowed', NOW_MS - 5 * DAY_MS, 5, null],
    ['a millisecond older', NOW_MS - 5 * DAY_MS - 1, 5, 'too_old'],
    ['of the first day of the ledger', WINDOW.clickFloorMs, null, null],
    ['a millisecond before it', WINDOW.clickFloorMs - 1, null, 'id_out_of_range'],
    ['of the last day of the ledger', WINDOW.clickAheadMs - 1, null, null],
    ['a millisecond after it', WINDOW.clickAheadMs, null, 'id_out_of_range'],
  ] as const)('%s', (_, clickedAt, clickAgeMaxDays, reason) => {
    expect(reasonFor({ clickedAt }, WINDOW, clickAgeMaxDays)).toBe(reason);
  });

  it.each([
    ['at the first time that has no day yet', 0, 'waits'],
    ['a day ahead of the clock', DAY_MS - 1, 'waits'],
    ['more than a day ahead of the clock', DAY_MS, 'id_out_of_range'],
  ] as const)('of a day that maintenance has still to make, %s', (_, laterMs, what) => {
    const clickAheadMs = NOW_MS + 1;
    const judge = () => reasonFor({ clickedAt: clickAheadMs + laterMs }, { ...WINDOW, clickAheadMs });
    if (what === 'waits') expect(judge).toThrow(expect.objectContaining({ code: 'no_partition_yet' }));
    else expect(judge()).toBe(what);
  });

  it.each([
    ['made at the first time whose nonces are kept', WINDOW.nonceFloorMs, null, null],
    ['made a millisecond earlier', WINDOW.nonceFloorMs - 1, null, 'nonce_out_of_range'],
    ['made at the last time whose nonces can be kept', WINDOW.nonceAheadMs - 1, null, null],
    ['made a millisecond later', WINDOW.nonceAheadMs, null, 'nonce_out_of_range'],
    ['made earlier, of a click that spends no nonce', WINDOW.nonceFloorMs - 1, 'expired', null],
  ] as const)('of a link %s', (_, mintedAt, invalid, reason) => {
    expect(reasonFor({ nonce: uuidV7(mintedAt), invalid })).toBe(reason);
  });
});
