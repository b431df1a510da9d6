import { expect, it } from 'vitest';
import { copyBatch, makeBareTables } from '../../load-tests/bench/bare-copy.ts';
import { decodeRecords, makeAdvertisers, makeRecords } from '../../load-tests/bench/charge-data.ts';
import { chargeBatch } from '../support/charge-batch.ts';
import { testDatabase } from '../support/database.ts';

const database = testDatabase();

const CLICKS = 20;

it('the reference of the benchmarks writes the same rows as the handler', async () => {
  await makeBareTables(database.pool);
  await makeAdvertisers(database.pool, 3);
  const batch = [
    ...decodeRecords(makeRecords(CLICKS / 2, 3, 'impression', { publishers: 2 })),
    ...decodeRecords(makeRecords(CLICKS / 2, 3, 'evergreen')),
  ];
  await chargeBatch(database.pool, batch);
  await copyBatch(database.pool, batch, true);
  const read = async (table: string) => {
    const { rows } = await database.pool.query(
      `select to_jsonb(t) - 'settled_at' as row from ${table} t order by click_id`,
    );
    return rows.map(({ row }) => row);
  };
  for (const [table, count] of [
    ['ledger', CLICKS],
    ['spent_nonce', CLICKS / 2],
    ['click_evidence', CLICKS],
  ] as const) {
    const rows = await read(table);
    expect(rows).toHaveLength(count);
    expect(await read(`bare_${table}`)).toEqual(rows);
  }
  const others = decodeRecords(makeRecords(CLICKS, 3, 'impression'));
  await copyBatch(database.pool, others, false);
  expect(await read('bare_ledger')).toHaveLength(2 * CLICKS);
  expect(await read('bare_spent_nonce')).toHaveLength(CLICKS / 2);
  const publishers = (await read('bare_ledger')).map(({ publisher }) => publisher);
  expect(publishers.filter((name) => /^publisher-[01]$/.test(name))).toHaveLength(CLICKS / 2);
});
