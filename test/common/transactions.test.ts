import { describe, expect, it } from 'vitest';
import {
  type Connection,
  createPool,
  failureKind,
  inTransaction,
  joinTransaction,
  RolledBack,
} from '../../common/postgres/postgres.ts';
import { testDatabase } from '../support/database.ts';

const database = testDatabase();

async function kill(connection: Connection): Promise<void> {
  const { rows } = await connection.query<{ pid: number }>('select pg_backend_pid() as pid');
  await database.pool.query('select pg_terminate_backend($1, 5000)', [rows[0]?.pid]);
}

async function failureOf(work: Promise<unknown>): Promise<unknown> {
  return work.then(
    () => undefined,
    (error: unknown) => error,
  );
}

describe('a transaction', () => {
  it('commits its work, and rolls back all of it when the work throws', async () => {
    await database.pool.query('create table note (text text)');
    const write = (text: string) => (connection: Connection) =>
      connection.query('insert into note values ($1)', [text]);
    await inTransaction(database.pool, write('kept'));
    const failing = inTransaction(database.pool, async (connection) => {
      await write('lost')(connection);
      throw new Error('no');
    });
    await expect(failing).rejects.toThrow('no');
    expect((await database.pool.query('select text from note')).rows).toEqual([{ text: 'kept' }]);
  });

  it('fails when its work has ignored the error of a statement, because nothing was committed', async () => {
    await database.pool.query('create table ignored (text text)');
    const ignoring = inTransaction(database.pool, async (connection) => {
      await connection.query(`insert into ignored values ('lost')`);
      await failureOf(connection.query('select 1 / 0'));
    });
    await expect(ignoring).rejects.toThrow('Expected the answer COMMIT, got ROLLBACK');
    expect((await database.pool.query('select from ignored')).rowCount).toBe(0);
    expect(await inTransaction(database.pool, async () => 'next')).toBe('next');
  });

  it('fails as transient when its connection breaks between two statements, without an effect on others', async () => {
    const error = await failureOf(
      inTransaction(database.pool, async (connection) => {
        await kill(connection);
        await connection.query('select 1');
      }),
    );
    expect(failureKind(error)).toBe('transient');
    expect(await inTransaction(database.pool, async () => 'next')).toBe('next');
  });

  it('fails as transient when its connection breaks during a statement, without an effect on others', async () => {
    const work = inTransaction(database.pool, async (connection) => {
      const { rows } = await connection.query<{ pid: number }>('select pg_backend_pid() as pid');
      const sleeping = connection.query('select pg_sleep(30)');
      await Promise.all([
        sleeping,
        database.pool.query('select pg_terminate_backend($1, 5000)', [rows[0]?.pid]),
      ]);
    });
    expect(failureKind(await failureOf(work))).toBe('transient');
    expect(await inTransaction(database.pool, async () => 'next')).toBe('next');
  });
});

describe('work that joins a transaction', () => {
  const write = (text: string) => async (connection: Connection) => {
    await connection.query('insert into joined values ($1)', [text]);
    return text;
  };
  const texts = async () =>
    (await database.pool.query<{ text: string }>('select text from joined order by 1')).rows.map(
      ({ text }) => text,
    );

  it('has a transaction of its own if given a pool', async () => {
    await database.pool.query('create table joined (text text primary key)');
    expect(await joinTransaction(database.pool, write('alone'))).toBe('alone');
    expect(await texts()).toEqual(['alone']);
  });

  it('commits and rolls back with the transaction of its connection', async () => {
    await inTransaction(database.pool, async (connection) => {
      await joinTransaction(connection, write('first'));
      expect(await texts()).toEqual(['alone']);
    });
    const failing = inTransaction(database.pool, async (connection) => {
      await joinTransaction(connection, write('lost'));
      throw new Error('no');
    });
    await expect(failing).rejects.toThrow('no');
    expect(await texts()).toEqual(['alone', 'first']);
  });

  it('undoes only its own changes when it fails or rolls back, also if nested', async () => {
    await inTransaction(database.pool, async (connection) => {
      await write('before')(connection);
      await expect(joinTransaction(connection, write('alone'))).rejects.toMatchObject({ code: '23505' });
      const value = await joinTransaction(connection, async (outer) => {
        await write('outer')(outer);
        await joinTransaction(outer, async (inner) => new RolledBack(await write('inner')(inner)));
        await write('outer again')(outer);
        return 'value';
      });
      expect(value).toBe('value');
      const undone = await joinTransaction(connection, async (outer) => {
        await joinTransaction(outer, write('nested'));
        return new RolledBack('undone');
      });
      expect(undone).toBe('undone');
    });
    expect(await texts()).toEqual(['alone', 'before', 'first', 'outer', 'outer again']);
  });

  it('fails with the error of a connection that broke', async () => {
    const failing = inTransaction(database.pool, (connection) =>
      joinTransaction(connection, async () => {
        await kill(connection);
        await connection.query('select 1');
      }),
    );
    expect(failureKind(await failureOf(failing))).toBe('transient');
    expect(await inTransaction(database.pool, async () => 'next')).toBe('next');
  });
});

describe('an error of pg', () => {
  it.each([
    ['no server at the address', 'postgres://postgres@127.0.0.1:1/tollway'],
    ['no such host', 'postgres://postgres@nowhere.invalid/tollway'],
  ])('with %s is transient', async (_, url) => {
    const pool = createPool(url, 'test', 1, () => undefined);
    const error = await failureOf(pool.query('select 1'));
    await pool.end();
    expect(error).toBeInstanceOf(Error);
    expect(failureKind(error)).toBe('transient');
  });

  it.each([
    ['a table that does not exist yet', 'select from nothing', 'transient'],
    ['a column that does not exist yet', 'select nothing from advertiser', 'transient'],
    ['a statement that is cancelled', `set local statement_timeout = 1; select pg_sleep(5)`, 'transient'],
    ['a division by zero', 'select 1 / 0', 'permanent'],
    ['a bad number', `select 'x'::integer`, 'permanent'],
    ['a syntax error', 'selekt', 'transient'],
    ['a constraint', `insert into advertiser (name, currency) values ('x', 'usd')`, 'invariant'],
  ])('is classified: %s', async (_, sql, kind) => {
    expect(
      failureKind(await failureOf(inTransaction(database.pool, (connection) => connection.query(sql)))),
    ).toBe(kind);
  });

  it('is permanent when it is a bug in Tollway', () => {
    expect(failureKind(new TypeError('x is not a function'))).toBe('permanent');
    expect(failureKind('a text')).toBe('permanent');
  });
});

it('reads int8 as bigint, and times with milliseconds', async () => {
  const { rows } = await database.pool.query(
    `select 9223372036854775807 as most, '-9223372036854775808'::bigint as least, null::bigint as nothing,
       '1999-12-31 23:59:59.999+00'::timestamptz as at`,
  );
  expect(rows).toEqual([
    { most: 2n ** 63n - 1n, least: -(2n ** 63n), nothing: null, at: new Date('1999-12-31T23:59:59.999Z') },
  ]);
});
