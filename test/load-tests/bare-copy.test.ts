import { expect, it } from 'vitest';
import { copyBatch, makeBareTables } from '../../load-tests/bench/bare-copy.ts';
import { chargeBatch } from '../support/charge-batch.ts';
import { addAccount, testDatabase } from '../support/database.ts';
import { clickRecord } from '../support/records.ts';

const database = testDatabase();

it('the reference of the benchmarks writes the same rows as the handler', async () => {
  await makeBareTables(database.pool);
  const { ad } = await addAccount(database.pool);
  const batch = [clickRecord({ ad }), clickRecord({ ad })];
  await chargeBatch(database.pool, batch);
  await copyBatch(database.pool, batch);
  const read = async (table: string) =>
    (await database.pool.query(`select to_jsonb(t) - 'settled_at' as row from ${table} t order by click_id`))
      .rows;
  for (const table of ['ledger', 'click_evidence']) {
    const rows = await read(table);
    expect(rows).toHaveLength(2);
    expect(await read(`bare_${table}`)).toEqual(rows);
  }
});
