import { afterEach, expect, it } from 'vitest';
import { inTransaction } from '../../common/postgres/postgres.ts';
import { uuidV7 } from '../../common/uuid.ts';
import { settle } from '../../processor/charge/charge-clicks.ts';
import { quarantine } from '../../processor/charge/quarantine.ts';
import {
  chargeBatchTwice,
  expectBalanced,
  outcomeText,
  rowCountsOf,
  untilWaitingForLock,
} from '../support/charge-batch.ts';
import { addAccount, testDatabase } from '../support/database.ts';
import { clickRecord, TestSpool, unreadableRecord } from '../support/records.ts';

const database = testDatabase();

afterEach(async () => {
  await expectBalanced(database.pool);
});

it('a quarantine stores a click as rejected with its raw bytes, once, and settles its sequence', async () => {
  const { ad } = await addAccount(database.pool);
  const spool = new TestSpool();
  const record = spool.click({ ad });
  const first = await quarantine(database.pool, record, 'it hurts');
  const again = await quarantine(database.pool, record, 'it hurts again');
  expect([...first.outcomes, ...again.outcomes].map(outcomeText)).toEqual(['rejected: poison', 'duplicate']);
  const { rows } = await database.pool.query(
    'select reason, detail, raw, sequence from dead_letter where click_id = $1',
    [record.click.clickId],
  );
  expect(rows).toEqual([{ reason: 'poison', detail: 'it hurts', raw: record.value, sequence: 1n }]);
  const reconciliation = await expectBalanced(database.pool);
  expect(reconciliation.spools.find((found) => found.spoolId === spool.id)).toMatchObject({
    accepted: 1,
    rejected: 1,
  });
});

it('a quarantine keeps a click from being charged', async () => {
  const { ad } = await addAccount(database.pool);
  const record = clickRecord({ ad, nonce: uuidV7() });
  await quarantine(database.pool, record, 'it hurts');
  expect(await chargeBatchTwice(database.pool, [record])).toEqual(['duplicate']);
  expect(await rowCountsOf(database.pool, record.click.clickId)).toEqual([0, 1]);
});

it('a quarantine changes nothing for a click that is settled', async () => {
  const { ad } = await addAccount(database.pool);
  const record = clickRecord({ ad });
  expect(await chargeBatchTwice(database.pool, [record])).toEqual(['charged']);
  const { outcomes } = await quarantine(database.pool, record, 'too late');
  expect(outcomes.map(outcomeText)).toEqual(['duplicate']);
  expect(await rowCountsOf(database.pool, record.click.clickId)).toEqual([1, 0]);
});

it('a quarantine does not count foreign bytes as rejected', async () => {
  const before = await expectBalanced(database.pool);
  await quarantine(database.pool, unreadableRecord(Buffer.from('x'), null), 'odd');
  expect(await expectBalanced(database.pool)).toMatchObject({
    rejected: before.rejected,
    unattributed: before.unattributed,
  });
});

it.each([
  ['with its key', undefined],
  ['without a key', null],
] as const)(
  'a quarantine waits for a copy of the click, %s, that another handler charges, and then is a duplicate',
  async (_, from) => {
    const { ad } = await addAccount(database.pool);
    const record = clickRecord({ ad, ...(from === null && { from }) });
    const done = await inTransaction(database.pool, async (other) => {
      await settle(other, [record], { clickAgeMaxDays: 14 });
      const quarantined = quarantine(database.pool, record, 'it hurts');
      // It must wait for a lock of the other; if it resolves at once, the test fails.
      await Promise.race([quarantined, untilWaitingForLock(database.pool)]);
      return { quarantined };
    });
    const { outcomes } = await done.quarantined;
    expect(await rowCountsOf(database.pool, record.click.clickId)).toEqual([1, 0]);
    expect(outcomes.map(outcomeText)).toEqual(['duplicate']);
  },
);

it('a quarantine does not settle a sequence again that a click has settled, before or at the same time', async () => {
  const { ad } = await addAccount(database.pool);
  const spool = new TestSpool();
  const from = spool.next();
  const forgery = unreadableRecord(Buffer.from('a forgery'), from);
  const done = await inTransaction(database.pool, async (other) => {
    await settle(other, [clickRecord({ ad, from })], { clickAgeMaxDays: 14 });
    const quarantined = quarantine(database.pool, forgery, 'odd');
    await Promise.race([quarantined, untilWaitingForLock(database.pool)]);
    return { quarantined };
  });
  const again = await quarantine(database.pool, forgery, 'odd');
  expect([...(await done.quarantined).outcomes, ...again.outcomes].map(outcomeText)).toEqual([
    'duplicate',
    'duplicate',
  ]);
});
