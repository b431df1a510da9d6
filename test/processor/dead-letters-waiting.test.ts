import { beforeEach, describe, expect, it } from 'vitest';
import { inTransaction, RolledBack } from '../../common/postgres/postgres.ts';
import { discardDeadLetter, insertDeadLetters, listDeadLetterIds } from '../../ledger/charge/dead-letters.ts';
import { noteDeadLetters } from '../../ledger/charge/dead-letters-waiting.ts';
import { BEGIN_CHARGE } from '../../ledger/charge-locks.ts';
import { quarantine } from '../../processor/charge/quarantine.ts';
import { redrive } from '../../processor/charge/redrive.ts';
import { chargeBatch, chargeBatchTwice, shuffle, untilWaitingForLock } from '../support/charge-batch.ts';
import { addAccount, testDatabase } from '../support/database.ts';
import { clickRecord, type NamedAd, unreadableRecord } from '../support/records.ts';
import { takeEvents } from '../support/webhook-events.ts';

const database = testDatabase({ poolSize: 20 });
let ad: NamedAd;

beforeEach(async () => {
  ad ??= (await addAccount(database.pool, { budget: '1000.00' })).ad;
  for (const id of await waitingIds()) await discardDeadLetter(database.pool, id);
  await takeEvents(database.pool);
});

const waitingIds = () => listDeadLetterIds(database.pool, 0n, 10_000);
const garbage = () => unreadableRecord(Buffer.from('not a click'));
const counts = async () =>
  (await takeEvents(database.pool)).map(({ type, data }) => [type, 'count' in data ? data.count : null]);
const WAITING = 'dead_letters.waiting';

async function isMarkedWaiting(): Promise<boolean | undefined> {
  const { rows } = await database.pool.query<{ waiting: boolean }>(
    'select dead_letters_waiting as waiting from webhook_state',
  );
  return rows[0]?.waiting;
}

describe('dead_letters.waiting', () => {
  it('is sent of the first dead letter and not of the next ones', async () => {
    await chargeBatchTwice(database.pool, [garbage(), garbage(), clickRecord({ ad })]);
    expect(await counts()).toEqual([[WAITING, 2]]);
    await chargeBatchTwice(database.pool, [garbage()]);
    await quarantine(database.pool, clickRecord({ ad }), 'poison');
    expect(await counts()).toEqual([]);
  });

  it('is sent again after all were discarded or redriven, and not before', async () => {
    await quarantine(database.pool, clickRecord({ ad }), 'poison');
    expect(await counts()).toEqual([[WAITING, 1]]);
    await chargeBatchTwice(database.pool, [garbage()]);
    const [poison, unreadable] = await waitingIds();
    expect(await redrive(database.pool, poison ?? 0n)).toMatchObject({ outcome: 'charged' });
    await chargeBatchTwice(database.pool, [garbage()]);
    expect(await redrive(database.pool, unreadable ?? 0n)).toMatchObject({ outcome: 'rejected' });
    expect([await counts(), await isMarkedWaiting()]).toEqual([[], true]);
    for (const id of await waitingIds()) await discardDeadLetter(database.pool, id);
    expect(await isMarkedWaiting()).toBe(false);
    await quarantine(database.pool, clickRecord({ ad }), 'poison');
    const [again] = await waitingIds();
    await redrive(database.pool, again ?? 0n);
    await chargeBatchTwice(database.pool, [garbage()]);
    expect(await counts()).toEqual([
      [WAITING, 1],
      [WAITING, 1],
    ]);
  });

  it('does not exist after a rollback', async () => {
    await inTransaction(
      database.pool,
      async (connection) => {
        const record = garbage();
        await insertDeadLetters(connection, [{ record, reason: 'malformed', detail: 'test' }]);
        await noteDeadLetters(connection, 1);
        return new RolledBack(undefined);
      },
      BEGIN_CHARGE,
    );
    expect([await counts(), await isMarkedWaiting()]).toEqual([[], false]);
  });

  it('is sent once by concurrent processors', async () => {
    const batches = Array.from({ length: 16 }, () => [garbage(), clickRecord({ ad })]);
    await Promise.all(shuffle([...batches, ...batches]).map((batch) => chargeBatch(database.pool, batch)));
    expect((await counts()).map(([type]) => type)).toEqual([WAITING]);
  });
});

describe('the last dead letter is discarded', () => {
  it('while another one is inserted and not committed: the flag stays, and both are known', async () => {
    await chargeBatch(database.pool, [garbage()]);
    await takeEvents(database.pool);
    const [last] = await waitingIds();
    let discarded: Promise<void> = Promise.resolve();
    await inTransaction(
      database.pool,
      async (connection) => {
        await insertDeadLetters(connection, [{ record: garbage(), reason: 'malformed', detail: 'test' }]);
        await noteDeadLetters(connection, 1);
        discarded = discardDeadLetter(database.pool, last ?? 0n);
        await untilWaitingForLock(database.pool);
      },
      BEGIN_CHARGE,
    );
    await discarded;
    expect([await isMarkedWaiting(), await counts(), (await waitingIds()).length]).toEqual([true, [], 1]);
  });

  it('and not committed while another one is inserted: that one is an event', async () => {
    await chargeBatch(database.pool, [garbage()]);
    await takeEvents(database.pool);
    const [last] = await waitingIds();
    let inserted: Promise<unknown> = Promise.resolve();
    await inTransaction(
      database.pool,
      async (connection) => {
        await discardDeadLetter(connection, last ?? 0n);
        inserted = chargeBatch(database.pool, [garbage()]);
        await untilWaitingForLock(database.pool);
      },
      BEGIN_CHARGE,
    );
    await inserted;
    expect([await isMarkedWaiting(), await counts()]).toEqual([true, [[WAITING, 1]]]);
  });
});

it('The flag says exactly whether a dead letter waits, after any concurrent inserts, redrives and discards', async () => {
  for (let round = 0; round < 12; round += 1) {
    const ids = await waitingIds();
    await Promise.all(
      [
        ...Array.from({ length: 3 }, () => quarantine(database.pool, clickRecord({ ad }), 'poison')),
        ...ids.map((id, at) =>
          at % 2 === 0 ? discardDeadLetter(database.pool, id) : redrive(database.pool, id),
        ),
        ...(round % 3 === 0 ? [chargeBatch(database.pool, [garbage()])] : []),
      ].map((work) =>
        work.catch((error: { code: string }) => {
          // Garbage cannot be redriven; it waits for the next round.
          if (error.code !== 'unknown_dead_letter') throw error;
        }),
      ),
    );
    expect(await isMarkedWaiting()).toBe((await waitingIds()).length > 0);
    if (round % 2 === 0) for (const id of await waitingIds()) await discardDeadLetter(database.pool, id);
    expect(await isMarkedWaiting()).toBe((await waitingIds()).length > 0);
  }
});
