import { afterEach, beforeEach, expect, it } from 'vitest';
import { inTransaction } from '../../common/postgres/postgres.ts';
import { settle } from '../../processor/charge/charge-clicks.ts';
import { chargeBatch, expectBalanced, untilWaitingForLock } from '../support/charge-batch.ts';
import { addAccount, createTestDatabase, type TestDatabase } from '../support/database.ts';
import { clickRecord, TestSpool, unreadableRecord } from '../support/records.ts';

let database: TestDatabase & { drop: () => Promise<void> };
beforeEach(async () => {
  database = await createTestDatabase();
});
afterEach(() => database.drop());

it.each([
  ['after it', ['click', 'forgery']],
  ['before it', ['forgery', 'click']],
  ['after it, twice', ['click', 'forgery', 'forgery']],
])(
  'the charge keeps the books balanced when malformed bytes arrive under the key of a click, %s',
  async (_, order) => {
    const { ad } = await addAccount(database.pool);
    const spool = new TestSpool();
    const from = spool.next();
    for (const what of order) {
      const record =
        what === 'click' ? clickRecord({ ad, from }) : unreadableRecord(Buffer.from('a forgery'), from);
      await chargeBatch(database.pool, [record]);
    }
    const { spools } = await expectBalanced(database.pool);
    expect(spools).toMatchObject([{ spoolId: spool.id, accepted: 1, missing: 0 }]);
  },
);

it('the charge keeps the books balanced when malformed bytes arrive in one batch with the click whose key they have', async () => {
  const { ad } = await addAccount(database.pool);
  const spool = new TestSpool();
  const from = spool.next();
  await chargeBatch(database.pool, [
    clickRecord({ ad, from }),
    unreadableRecord(Buffer.from('a forgery'), from),
  ]);
  const { spools } = await expectBalanced(database.pool);
  expect(spools).toMatchObject([{ spoolId: spool.id, accepted: 1, missing: 0 }]);
});

it.each([
  ['the forgery', 'click'],
  ['the click', 'forgery'],
])(
  'the charge keeps the books balanced when %s arrives while another handler settles the other',
  async (_, first) => {
    const { ad } = await addAccount(database.pool);
    const spool = new TestSpool();
    const from = spool.next();
    const pair = [clickRecord({ ad, from }), unreadableRecord(Buffer.from('a forgery'), from)];
    const [before, after] = first === 'click' ? pair : pair.reverse();
    if (!before || !after) throw new Error('Expected two records');
    const { delivered } = await inTransaction(database.pool, async (other) => {
      await settle(other, [before], { clickAgeMaxDays: 14 });
      const late = chargeBatch(database.pool, [after]);
      // It must wait for the lock of the spool; if it resolves at once, the test fails.
      await Promise.race([late, untilWaitingForLock(database.pool)]);
      return { delivered: late };
    });
    expect(await delivered).toEqual(['duplicate']);
    await expectBalanced(database.pool);
  },
);
