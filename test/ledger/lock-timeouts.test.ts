import { afterEach, beforeEach, expect, it } from 'vitest';
import { createPool, type Pool } from '../../common/postgres/postgres.ts';
import { updateAd } from '../../ledger/accounts/ads.ts';
import { setAdvertiserStatus } from '../../ledger/accounts/advertisers.ts';
import { addBudgetEntry, creditClick } from '../../ledger/accounts/budget-entries.ts';
import { creditClicks } from '../../ledger/clicks/credit-clicks.ts';
import { dryRunCharge } from '../../processor/charge/dry-run.ts';
import { redrive } from '../../processor/charge/redrive.ts';
import { chargeBatch } from '../support/charge-batch.ts';
import { type Account, addAccount, createTestDatabase, type TestDatabase } from '../support/database.ts';
import { clickRecord } from '../support/records.ts';

let database: TestDatabase & { drop: () => Promise<void> };
let pool: Pool;
let account: Account;
/** The statements that connections of the pool have sent, in order. */
let sent: string[];

beforeEach(async () => {
  database = await createTestDatabase();
  account = await addAccount(database.pool);
  sent = [];
  pool = createPool(database.url, 'test', 1, () => {});
  pool.on('connect', (client) => {
    const query = client.query.bind(client) as (...args: unknown[]) => unknown;
    const recorded = (...args: unknown[]) => {
      const [first] = args;
      sent.push(typeof first === 'string' ? first : String((first as { text?: string }).text ?? ''));
      return query(...args);
    };
    Object.assign(client, { query: recorded });
  });
});
afterEach(async () => {
  await pool.end();
  await database.drop();
});

it.each<[string, () => Promise<unknown>]>([
  ['a charge', () => chargeBatch(pool, [clickRecord({ ad: account.ad })])],
  [
    'the dry run of a charge',
    async () => {
      const record = clickRecord({ ad: account.ad });
      expect(await dryRunCharge(pool, record, { clickAgeMaxDays: 14 })).toBe(true);
    },
  ],
  [
    'a redrive',
    async () => {
      await chargeBatch(database.pool, [clickRecord({ ad: { ...account.ad, id: 999 } })]);
      const { rows } = await database.pool.query<{ id: bigint }>('select id from dead_letter');
      await redrive(pool, rows[0]?.id ?? 0n);
    },
  ],
  ['a top-up', () => addBudgetEntry(pool, account.advertiser.id, 'top_up', 1_000_000n)],
  ['a pause', () => setAdvertiserStatus(pool, account.advertiser.id, 'paused')],
  ['a new price', () => updateAd(pool, account.ad.id, { priceMicros: 300_000n })],
  [
    'a credit',
    async () => {
      const click = clickRecord({ ad: account.ad });
      await chargeBatch(database.pool, [click]);
      await creditClick(pool, click.click.clickId);
    },
  ],
  [
    'a credit of many clicks',
    async () => {
      const clicks = [clickRecord({ ad: account.ad }), clickRecord({ ad: account.ad })];
      await chargeBatch(database.pool, clicks);
      await creditClicks(
        pool,
        clicks.map(({ click }) => click.clickId),
      );
    },
  ],
])('%s stops waiting for the lock of an advertiser after a timeout', async (_, act) => {
  await act();
  const locks = sent.flatMap((text, index) => (/for (no key )?update/.test(text) ? [index] : []));
  expect(locks.length, sent.join('\n')).toBeGreaterThan(0);
  for (const index of locks) {
    const begin = sent.slice(0, index).findLast((text) => text.startsWith('begin')) ?? '';
    expect(begin).toContain("set local lock_timeout = '12s'");
    expect(begin).toContain("set local idle_in_transaction_session_timeout = '15s'");
  }
});
