import { expect, it } from 'vitest';
import { uuidArray } from '../../common/postgres/postgres.ts';
import { uuidV7 } from '../../common/uuid.ts';
import { testDatabase } from '../support/database.ts';

const database = testDatabase();

it.each([0, 1, 2, 1_000])('PostgreSQL reads the %i UUIDs of a binary parameter', async (count) => {
  const ids = Array.from({ length: count }, () => uuidV7());
  const { rows } = await database.pool.query('select $1::uuid[]::text[] as ids', [uuidArray(ids)]);
  expect(rows).toEqual([{ ids }]);
});
