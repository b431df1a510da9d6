import { expect, it } from 'vitest';
import type { Connection } from '../../../common/postgres/postgres.ts';
import { readSettledSequences, readSpoolCounters } from '../../../ledger/spools/counters.ts';
import { mergeSpoolCounters } from '../../../ledger/spools/merge-counters.ts';
import { chargeBatch } from '../../support/charge-batch.ts';
import { addAccount, testDatabase } from '../../support/database.ts';
import { clickRecord, TestSpool } from '../../support/records.ts';

const database = testDatabase();

it('Settled sequences are found even if their counters are merged between two queries', async () => {
  const { ad } = await addAccount(database.pool);
  const spool = new TestSpool();
  await chargeBatch(database.pool, [spool.click({ ad }), spool.click({ ad })]);
  const connection = await database.pool.connect();
  // Merges after each query, as the task of another processor can.
  const interrupted = {
    query: async (text: string, values: unknown[]) => {
      const result = await connection.query(text, values);
      await mergeSpoolCounters(database.pool);
      return result;
    },
  } as unknown as Connection;
  const positions = [1, 2, 3].map((sequence) => ({ spoolId: spool.id, sequence }));
  const isSettled = await readSettledSequences(interrupted, positions).finally(() => connection.release());
  expect(positions.map(isSettled)).toEqual([true, true, false]);
});

it.each([2, 65_536, 65_537, 70_000])(
  'Clicks of one batch are counted once and their sequences are settled: 1 and %i',
  async (far) => {
    const { ad } = await addAccount(database.pool);
    const { id } = new TestSpool();
    await chargeBatch(
      database.pool,
      [1, far].map((sequence) => clickRecord({ ad, from: { spoolId: id, sequence } })),
    );
    const connection = await database.pool.connect();
    const counters = await readSpoolCounters(connection, [id]).finally(() => connection.release());
    const settled = far === 2 ? [{ start: 1, end: 3 }] : [1, far].map((start) => ({ start, end: start + 1 }));
    expect(counters.get(id)).toMatchObject({ charged: 2, settled });
  },
);

it.each([499, 500, 501, 1_000])('Counters are read once each over several pages: %i rows', async (count) => {
  const { id } = new TestSpool();
  await database.pool.query(
    `insert into spool_counter (spool_id, charged, first_sequence, settled)
     select $1, 1, number, '\\x01' from generate_series(1, $2::bigint) number`,
    [id, count],
  );
  const connection = await database.pool.connect();
  const counters = await readSpoolCounters(connection, [id]).finally(() => connection.release());
  expect(counters.get(id)).toMatchObject({ charged: count, settled: [{ start: 1, end: count + 1 }] });
});
