import { expect, it } from 'vitest';
import { createPool, failureKind, inTransaction } from '../../common/postgres/postgres.ts';
import { BEGIN_CHARGE, lockAdvertisers } from '../../ledger/charge-locks.ts';
import { chargeClicks } from '../../processor/charge/charge-clicks.ts';
import { expectBalanced } from '../support/charge-batch.ts';
import { addAccount, testDatabase } from '../support/database.ts';
import { clickRecord } from '../support/records.ts';

const database = testDatabase();
const OPTIONS = { clickAgeMaxDays: 14 };

it('a processor whose host is lost loses its locks, and other processors time out instead of waiting forever', {
  timeout: 60_000,
}, async () => {
  const { ad, advertiser } = await addAccount(database.pool);
  const elsewhere = createPool(database.url, 'vanished', 1, () => {});
  let locked: () => void = () => {};
  const isLocked = new Promise<void>((resolve) => {
    locked = resolve;
  });
  // Its host is lost: it sends nothing more, and its connection stays open.
  const vanished = inTransaction(
    elsewhere,
    async (connection) => {
      await lockAdvertisers(connection, [advertiser.id]);
      locked();
      await new Promise((resolve) => connection.once('end', resolve));
      throw new Error('given up');
    },
    BEGIN_CHARGE,
  ).catch(() => 'given up');
  await isLocked;
  const startedAt = Date.now();
  const click = clickRecord({ ad });
  const error: unknown = await chargeClicks(database.pool, [click], OPTIONS).catch((caught) => caught);
  expect(failureKind(error)).toBe('transient');
  expect(Date.now() - startedAt).toBeLessThan(14_500);
  // The dispatcher retries it.
  expect((await chargeClicks(database.pool, [click], OPTIONS)).outcomes).toMatchObject([
    { outcome: 'charged' },
  ]);
  expect(Date.now() - startedAt).toBeLessThan(20_000);
  expect(await vanished).toBe('given up');
  await elsewhere.end();
  await expectBalanced(database.pool);
});
