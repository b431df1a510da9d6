import { expect, it } from 'vitest';
import { uuidV7 } from '../../../common/uuid.ts';
import { collectKeys } from '../../../ledger/charge/batch-keys.ts';
import { clickRecord } from '../../support/records.ts';

it('The keys of a batch have the range of sequences by spool, in any order of the clicks', () => {
  const [one, other] = [uuidV7(), uuidV7()];
  const nonce = uuidV7();
  const unattributed = clickRecord({ from: null });
  const clicks = [
    clickRecord({ from: { spoolId: one, sequence: 5 }, nonce }),
    clickRecord({ from: { spoolId: other, sequence: 1 }, userAgent: 'another' }),
    clickRecord({ from: { spoolId: one, sequence: 7 } }),
    clickRecord({ from: { spoolId: one, sequence: 3 } }),
    clickRecord({ from: { spoolId: one, sequence: 6 }, userAgent: null }),
    unattributed,
  ];
  expect(collectKeys(clicks)).toEqual({
    advertiserIds: [1],
    adIds: [1],
    spools: new Map([
      [one, { lowest: 3, highest: 7 }],
      [other, { lowest: 1, highest: 1 }],
    ]),
    unattributedIds: [unattributed.click.clickId],
    nonces: [nonce],
    userAgents: new Set([unattributed.click.userAgent, 'another']),
  });
});
