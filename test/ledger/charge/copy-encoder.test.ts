import fc from 'fast-check';
import { beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { inTransaction } from '../../../common/postgres/postgres.ts';
import { parseUuid } from '../../../common/uuid.ts';
import { CopyRows, sendRows } from '../../../ledger/charge/copy-encoder.ts';
import { testDatabase } from '../../support/database.ts';

const database = testDatabase();
const STATEMENT = 'copy sample from stdin (format binary)';

beforeAll(async () => {
  await database.pool.query(
    'create table sample (n integer, id uuid, small integer, large bigint, at timestamptz, word text)',
  );
});
beforeEach(() => database.pool.query('truncate sample'));

type Row = {
  readonly id: string | null;
  readonly small: number;
  readonly large: number | bigint | null;
  readonly at: number;
  readonly word: string | null;
};

async function send(given: readonly Row[]): Promise<void> {
  const rows = new CopyRows(6);
  for (const [index, { id, small, large, at, word }] of given.entries()) {
    rows.row();
    rows.int4(index);
    if (id !== null && index % 2 === 1) rows.uuidWords(...parseUuid(id));
    else rows.uuid(id);
    rows.int4(small);
    rows.int8(large);
    rows.timestamp(at);
    rows.text(word);
  }
  await inTransaction(database.pool, (connection) => sendRows(connection, [{ rows, statement: STATEMENT }]));
}

async function stored(): Promise<Row[]> {
  const { rows } = await database.pool.query<Row>(
    `select id, small, large, (extract(epoch from at) * 1000)::bigint as at, word from sample order by n`,
  );
  return rows.map((row) => ({ ...row, at: Number(row.at) }));
}

const asStored = (row: Row): Row => ({ ...row, large: row.large === null ? null : BigInt(row.large) });

// Without NUL, which PostgreSQL's text cannot store, and without lone surrogates.
const word = fc.string({ unit: 'grapheme', maxLength: 30 }).map((text) => text.replaceAll('\0', ''));
const row: fc.Arbitrary<Row> = fc.record({
  id: fc.option(fc.uuid()),
  small: fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 }),
  large: fc.oneof(
    fc.constant(null),
    fc.maxSafeInteger(),
    fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
  ),
  at: fc.integer({ min: -62_135_596_800_000, max: 4_102_444_800_000 }),
  word: fc.option(word),
});

describe('rows in the binary COPY format', () => {
  it('are stored with their values, for any values', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(row, { maxLength: 30 }), async (given) => {
        await database.pool.query('truncate sample');
        await send(given);
        expect(await stored()).toEqual(given.map(asStored));
      }),
      { numRuns: 40 },
    );
  });

  it('can have the bounds of each type, and times before PostgreSQL’s epoch', async () => {
    const ordinary = { id: null, small: 0, large: 0, at: 0, word: '' };
    const given: Row[] = [
      { ...ordinary, large: 2n ** 63n - 1n },
      { ...ordinary, large: -(2n ** 63n) },
      { ...ordinary, large: Number.MAX_SAFE_INTEGER },
      { ...ordinary, large: Number.MIN_SAFE_INTEGER },
      { ...ordinary, large: -1 },
      { ...ordinary, large: 2 ** 32 },
      { ...ordinary, large: -(2 ** 32) - 1 },
      { ...ordinary, small: -(2 ** 31), at: Date.UTC(1999, 11, 31, 23, 59, 59, 999) },
      { ...ordinary, small: 2 ** 31 - 1, at: Date.UTC(2000, 0, 1) },
      { ...ordinary, at: Date.UTC(1969, 6, 20, 20, 17, 40, 1) },
      { ...ordinary, at: Date.UTC(2199, 11, 31, 23, 59, 59, 999) },
      { ...ordinary, id: 'ffffffff-ffff-ffff-ffff-ffffffffffff', word: '€ – 😀 é \u{10ffff}' },
    ];
    await send(given);
    expect(await stored()).toEqual(given.map(asStored));
  });

  it('can exceed the initial size of the buffer', async () => {
    const long = '€'.repeat(70_000);
    const given = Array.from({ length: 3_000 }, (_, index) => ({
      id: null,
      small: index,
      large: index,
      at: index,
      word: index % 1_000 === 0 ? long : 'short',
    }));
    await send(given);
    expect(await stored()).toEqual(given.map(asStored));
  });

  it('can be absent: nothing is sent', async () => {
    await send([]);
    expect(await stored()).toEqual([]);
  });

  it('that the server refuses fail the transaction with its error; the connection stays usable', async () => {
    await database.pool.query('create table keyed (id integer primary key)');
    const rows = new CopyRows(1);
    for (const id of [1, 2, 2]) {
      rows.row();
      rows.int4(id);
    }
    const sent = inTransaction(database.pool, (connection) =>
      sendRows(connection, [{ rows, statement: 'copy keyed from stdin (format binary)' }]),
    );
    await expect(sent).rejects.toMatchObject({ code: '23505' });
    expect((await database.pool.query('select from keyed')).rowCount).toBe(0);
    expect(database.connectionErrors).toEqual([]);
  });

  it('throw on a number that does not fit its column, before anything is sent', () => {
    const rows = new CopyRows(1);
    rows.row();
    expect(() => rows.int4(2 ** 31)).toThrow(RangeError);
    expect(() => rows.int4(1.5)).toThrow(RangeError);
    expect(() => rows.int8(2n ** 63n)).toThrow(RangeError);
    expect(() => rows.int8(2 ** 53)).toThrow(RangeError);
  });
});

it('A second COPY can have UUIDs of the first, halves of integers, texts of any characters, and jsonb', async () => {
  const [first, second] = ['01a208fb-f934-70de-beaa-9335acbb4502', 'ffffffff-ffff-ffff-ffff-fffffffffff0'];
  await database.pool.query('create table detail (id uuid, large bigint, word text, texts jsonb)');
  const ids = new CopyRows(1);
  const details = new CopyRows(4);
  for (const id of [first, second]) {
    ids.row();
    ids.uuid(id);
    details.row();
    details.uuidOf(ids);
    details.int8Halves(id === first ? -2 : 0x7fffffff, 0xfffffff0);
    details.text(id === first ? 'a\0' : `${'x'.repeat(30)}\0\ud800`, 32);
    details.jsonb(id === first ? null : { sub1: '"ü\0\ud800' });
  }
  await inTransaction(database.pool, async (connection) => {
    await sendRows(connection, [{ rows: details, statement: 'copy detail from stdin (format binary)' }]);
  });
  const { rows } = await database.pool.query('select * from detail order by id');
  expect(rows).toEqual([
    { id: first, large: -(2n ** 32n) - 16n, word: 'a\ufffd', texts: null },
    {
      id: second,
      large: 2n ** 63n - 16n,
      word: `${'x'.repeat(30)}\ufffd\ufffd`,
      texts: { sub1: '"ü\ufffd\ufffd' },
    },
  ]);
});

it('Rows of several tables are inserted in their order; after an error, the data of the others is dropped', async () => {
  await database.pool.query(
    'create table unique_row (n integer primary key); create table free_row (n integer)',
  );
  const insert = (first: readonly number[], second: readonly number[]) => {
    const [unique, free] = [first, second].map((numbers) => {
      const rows = new CopyRows(1);
      for (const n of numbers) {
        rows.row();
        rows.int4(n);
      }
      return rows;
    }) as [CopyRows, CopyRows];
    return inTransaction(database.pool, (connection) =>
      sendRows(connection, [
        { rows: unique, statement: 'copy unique_row from stdin (format binary)' },
        { rows: free, statement: 'copy free_row from stdin (format binary)' },
      ]),
    );
  };
  const many = Array.from({ length: 200_000 }, (_, n) => n);
  await insert(many, [1]);
  await expect(insert([7, ...many], many)).rejects.toMatchObject({ code: '23505' });
  await insert([], [2]);
  const { rows } = await database.pool.query('select n from free_row order by n');
  expect(rows).toEqual([{ n: 1 }, { n: 2 }]);
  // A statement that fails before it reads data.
  const missing = new CopyRows(1);
  missing.row();
  missing.int4(1);
  const statement = 'copy missing_table from stdin (format binary)';
  const sent = inTransaction(database.pool, (connection) =>
    sendRows(connection, [{ rows: missing, statement }]),
  );
  await expect(sent).rejects.toMatchObject({ code: '42P01' });
});
