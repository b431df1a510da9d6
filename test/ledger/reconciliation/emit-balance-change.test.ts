import { expect, it } from 'vitest';
import { emitBalanceChange } from '../../../ledger/reconciliation/emit-balance-change.ts';
import { reconcile } from '../../../ledger/reconciliation/reconcile.ts';
import { addAccount, testDatabase } from '../../support/database.ts';
import { takeEvents } from '../../support/webhook-events.ts';

const database = testDatabase();

async function reconcileAndNote() {
  await emitBalanceChange(database.pool, await reconcile(database.pool, { brokers: [] }));
  return (await takeEvents(database.pool)).filter(({ type }) => type === 'books.out_of_balance');
}

it('books.out_of_balance is sent at the first result with problems, and again after one without', async () => {
  const { advertiser } = await addAccount(database.pool);
  const add = (micros: number) =>
    database.pool.query('update advertiser set budget_micros = budget_micros + $2 where id = $1', [
      advertiser.id,
      micros,
    ]);
  expect(await reconcileAndNote()).toEqual([]);
  await add(1);
  const event = {
    type: 'books.out_of_balance',
    advertiserId: null,
    data: {
      count: 1,
      problems: [
        expect.stringMatching(`^advertiser ${advertiser.id} \\(Test advertiser\\): budget 100000001, `),
      ],
    },
  };
  expect(await reconcileAndNote()).toEqual([event]);
  expect(await reconcileAndNote()).toEqual([]);
  await add(-1);
  expect(await reconcileAndNote()).toEqual([]);
  await add(1);
  expect(await reconcileAndNote()).toEqual([event]);
});

it('Of several consoles with the same result, one sends the event, with the first 20 problems', async () => {
  await emitBalanceChange(database.pool, { balanced: true, problems: [] });
  const problems = Array.from({ length: 25 }, (_, at) => `problem ${at}`);
  await Promise.all([1, 2, 3, 4].map(() => emitBalanceChange(database.pool, { balanced: false, problems })));
  expect(await takeEvents(database.pool)).toEqual([
    {
      type: 'books.out_of_balance',
      advertiserId: null,
      data: { count: 25, problems: problems.slice(0, 20) },
    },
  ]);
});
