import { afterEach, beforeEach, expect, it } from 'vitest';
import { postgresBacklog } from '../../brokers/postgres/backlog.ts';
import { inTransaction } from '../../common/postgres/postgres.ts';
import { reconcile } from '../../ledger/reconciliation/reconcile.ts';
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

it.each([
  ['in one batch', true],
  ['in two batches', false],
])(
  'two different clicks under one key are both charged, %s, and reconcile reports the spool',
  async (_, isOneBatch) => {
    const { ad } = await addAccount(database.pool);
    const from = new TestSpool().next();
    const [one, other] = [clickRecord({ ad, from }), clickRecord({ ad, from })];
    for (const batch of isOneBatch ? [[one, other]] : [[one], [other]])
      expect(new Set(await chargeBatch(database.pool, batch))).toEqual(new Set(['charged']));
    // A copy of either is found by its click id.
    expect(await chargeBatch(database.pool, [other, one])).toEqual(['duplicate', 'duplicate']);
    const { balanced, problems } = await reconcile(database.pool, { brokers: [postgresBacklog], deep: true });
    expect({ balanced, problems }).toEqual({
      balanced: false,
      problems: [`spool ${from.spoolId}: 1 click accepted, 2 accounted for`],
    });
  },
);

it('a click under two keys is charged once, and the other key counts as missing', async () => {
  const { ad } = await addAccount(database.pool);
  const spool = new TestSpool();
  const click = spool.click({ ad });
  const { clickId, clickedAt } = click.click;
  const outcomes = await chargeBatch(database.pool, [
    click,
    spool.click({ ad, clickId, clickedAt }),
    spool.watermark(),
  ]);
  expect(outcomes.toSorted()).toEqual(['charged', 'duplicate', 'watermark']);
  const { problems, charged, missing } = await reconcile(database.pool, {
    brokers: [postgresBacklog],
    deep: true,
  });
  expect({ problems, charged, missing }).toEqual({ problems: [], charged: 1, missing: 1 });
});
