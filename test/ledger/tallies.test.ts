import { expect, it } from 'vitest';
import type { Connection } from '../../common/postgres.ts';
import { mergeTallies } from '../../processor/maintenance.ts';
import { readSettledSequences } from '../../processor/tally.ts';
import { addAccount, TestOrigin, testDatabase } from '../setup/database.ts';
import { deliver } from './deliver.ts';

const database = testDatabase();

it('Sequences are known to be settled though their tallies are merged between two looks', async () => {
  const { ad } = await addAccount(database.pool);
  const origin = new TestOrigin();
  await deliver(database.pool, [origin.click({ ad }), origin.click({ ad })]);
  const connection = await database.pool.connect();
  // As another processor's task may, between any two statements of one that reads no snapshot.
  const interrupted = {
    query: async (text: string, values: unknown[]) => {
      const result = await connection.query(text, values);
      await mergeTallies(database.pool);
      return result;
    },
  } as unknown as Connection;
  const asked = [1, 2, 3].map((sequence) => ({ origin: origin.id, sequence }));
  const isSettled = await readSettledSequences(interrupted, asked).finally(() => connection.release());
  expect(asked.map(isSettled)).toEqual([true, true, false]);
});
